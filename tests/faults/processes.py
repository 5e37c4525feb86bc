"""`avi` in processes of its own that start in a moment: forked from one that has imported it all.

A fork is a process like any other: it can be killed, meets limits, and hears signals.
"""

import hashlib
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path

# Small enough that a start costs a second or two of the processor.
TINY = (
    "train.batch_size=200 train.log_every=3 train.save_every=1 train.eval_every=0"
    " train.eval_points=0 gap.num_points=0 model.latent_size=2 model.decoder.widths=[8]"
).split()
NETWORK = "inference.network.widths=[8]"
MODES = {
    "amortized": ["inference=amortized", NETWORK],
    "semi_amortized": [
        "inference=semi_amortized",
        "inference.base.network.widths=[8]",
        "inference.refine.steps=2",
    ],
    "free_form": ["inference=free_form"],
    "svi": ["inference=svi", "inference.refine.steps=2"],
}
GAP = (  # a report of some seconds that does not depend on the clock
    "gap run=run gap.num_points=4 gap.num_draws=20 gap.width=2 gap.splits=[test] gap.search_draws=4"
    " gap.budget=400 gap.seconds=null gap.audit=0 evidence=none"
).split()
PRELOADED = [
    "avi.config.compose",
    "avi.launch.places",
    "avi.run.train",
    "avi.run.measure",
    "avi.report.run_page",
    "avi.datasets.digits",
    "avi.inference.refined",
    "avi.models.vae",
    "hydra",
    "matplotlib.backends.backend_svg",
]
PATIENCE = 300.0  # seconds; only a test that fails waits so long
CACHE = os.environ.get("JAX_COMPILATION_CACHE_DIR")  # of the test run: warm from the second time on
SOAK = os.environ.get("AVI_SOAK") == "1"  # scripts/soak: everything in full

Hook = Callable[[], None]


class Avi:
    """One running `avi <words>`, its output in a file."""

    def __init__(
        self,
        words: list[str],
        folder: Path,
        hooks: tuple[Hook, ...] = (),
        cache: str | None = CACHE,
    ) -> None:
        """Start it in `folder`; `hooks` are called in the process before anything else."""
        folder.mkdir(parents=True, exist_ok=True)
        # Of words for one key the last: what a test says comes after what all say.
        words = list({word.partition("=")[0]: word for word in words}.values())
        self.log = folder / "output.txt"
        self.began = time.monotonic()
        self.process = _context().Process(
            target=_main, args=(words, folder, self.log, hooks, cache), daemon=True
        )
        self.process.start()

    @property
    def output(self) -> str:
        """What it has printed so far."""
        return self.log.read_text() if self.log.exists() else ""

    @property
    def seconds(self) -> float:
        """Since it was started."""
        return time.monotonic() - self.began

    def send(self, number: int) -> None:
        """Send a signal."""
        os.kill(self.process.pid, number)

    def wait(self, timeout: float = PATIENCE) -> int:
        """Return the exit code, negative for a signal that killed it."""
        self.process.join(timeout)
        if self.process.exitcode is None:
            self.send(signal.SIGKILL)
            self.process.join()
            raise AssertionError(f"It hung. So far:\n{self.output}")
        return self.process.exitcode

    def wait_for(self, words: str) -> None:
        """Wait until it has printed `words`."""
        deadline = time.monotonic() + PATIENCE
        while words not in self.output:
            assert self.process.is_alive(), self.output
            assert time.monotonic() < deadline, self.output
            time.sleep(0.01)


def avi(words: list[str], folder: Path, hooks: tuple[Hook, ...] = ()) -> Avi:
    """Run `avi <words>` to its end."""
    running = Avi(words, folder, hooks)
    running.wait()
    return running


@cache
def _context() -> multiprocessing.context.ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    return context


def _main(
    words: list[str], folder: Path, log: Path, hooks: tuple[Hook, ...], cache: str | None
) -> None:
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", closefd=False)  # noqa: SIM115
    os.chdir(folder)
    os.environ["AVI_OUTPUT_DIR"] = str(folder / "outputs")
    import jax

    jax.config.update("jax_compilation_cache_dir", cache)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", "")  # avi keeps its hands off
    for hook in hooks:
        hook()
    from avi.cli.main import main

    try:
        main(words)
    except SystemExit as end:
        # Not through multiprocessing's own end, which would wait for threads.
        sys.stdout.flush()
        os._exit(end.code if isinstance(end.code, int) else 1)


def digests(run: Path) -> dict[str, str]:
    """Return the SHA-256 of all that must not depend on interruptions.

    The arrays of the last checkpoint are the parameters and the optimiser's state.
    """
    last = max((run / "checkpoints").iterdir())
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in (last / "state.safetensors", run / "metrics.jsonl")
    } | {"step": last.name}
