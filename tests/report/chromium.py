"""A headless Chromium that is spoken to through two pipes: its DevTools, without a library."""

import json
import os
import select
import shutil
import subprocess
import time
from contextlib import contextmanager

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
PATIENCE = 60.0  # seconds for one answer


def path():
    """Return where a Chromium is, None where there is none."""
    return next(filter(None, map(shutil.which, NAMES)), None)


class Tab:
    """One page; `ask` sends a command and returns its result."""

    def __init__(self, write, read):
        self.write, self.read, self.session, self.number, self.rest = write, read, None, 0, b""
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self.ask("Page.enable")

    def ask(self, method, **parameters):
        self.number += 1
        message = {"id": self.number, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.write, json.dumps(message).encode() + b"\0")
        answer = self._until(lambda found: found.get("id") == self.number)
        assert "error" not in answer, answer["error"]
        return answer["result"]

    def open(self, page, width, scheme):
        """Show a file in a window of a width, to a reader who prefers a scheme."""
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
        self.ask("Emulation.setDeviceMetricsOverride", **size)
        feature = {"name": "prefers-color-scheme", "value": scheme}
        self.ask("Emulation.setEmulatedMedia", features=[feature])
        self.ask("Page.navigate", url=page.as_uri())
        self._until(lambda found: found.get("method") == "Page.loadEventFired")

    def evaluate(self, program):
        """Return the value of an expression, as JSON has it."""
        found = self.ask("Runtime.evaluate", expression=program, returnByValue=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def _until(self, wanted):
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            whole, mark, rest = self.rest.partition(b"\0")
            if not mark:
                ready, _, _ = select.select([self.read], [], [], 1.0)
                self.rest += os.read(self.read, 1 << 20) if ready else b""
                continue
            self.rest = rest
            if wanted(found := json.loads(whole)):
                return found
        raise TimeoutError("Chromium does not answer")


@contextmanager
def tab(place):
    """Start a Chromium whose profile is in `place`, and end it."""
    (read, theirs_out), (theirs_in, write) = os.pipe(), os.pipe()
    command = (
        f'exec "$0" --headless --no-sandbox --disable-gpu --remote-debugging-pipe '
        f'--user-data-dir="$1" 3<&{theirs_in} 4>&{theirs_out}'
    )
    process = subprocess.Popen(
        ["bash", "-c", command, path(), str(place)],
        pass_fds=(theirs_in, theirs_out),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(theirs_in)
    os.close(theirs_out)
    try:
        yield Tab(write, read)
    finally:
        os.close(write)  # which ends it
        os.close(read)
        process.terminate()
        process.wait(20)
