"""What a test does to a process before `avi` begins in it. Picklable, for a fork elsewhere."""

import os
import resource
import signal
import sys
import threading
import time
from dataclasses import dataclass


def on_one_core() -> None:
    """Leave the process one of the cores it has."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})


def without_report() -> None:
    """Leave out what is made from the files of a run when its numbers are complete."""
    import avi.report.run_page
    from avi.run import cost, snapshot, train

    left_out = (cost.PRODUCT, snapshot.PRODUCT)
    train.PRODUCTS = tuple(one for one in train.PRODUCTS if one not in left_out)
    avi.report.run_page.write_report = lambda run, status=None: run


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@dataclass(frozen=True)
class DieSaving:
    """Killed at the n-th time that a file or folder is brought to the disk or renamed."""

    call: int

    def __call__(self) -> None:
        """Count the calls."""
        left = self.call

        def counted(real):
            def call(*arguments, **keywords):
                nonlocal left
                left -= 1
                if left == 0:
                    _die()
                return real(*arguments, **keywords)

            return call

        os.fsync, os.replace = counted(os.fsync), counted(os.replace)


@dataclass(frozen=True)
class WhenCompiling:
    """Sends a signal so many seconds after the n-th compilation has begun."""

    compilation: int
    delay: float
    number: int = signal.SIGKILL

    def __call__(self) -> None:
        """Listen to jax."""
        import jax

        left = self.compilation

        def heard(event: str, **_) -> None:
            nonlocal left
            if event == "/jax/compilation_cache/compile_requests_use_cache":
                left -= 1
                if left == 0:
                    threading.Timer(self.delay, os.kill, (os.getpid(), self.number)).start()

        jax.monitoring.register_event_listener(heard)


@dataclass(frozen=True)
class Slow:
    """Makes a function of a module, or `Class.method`, take longer, telling when it begins."""

    module: str
    name: str
    seconds: float

    def __call__(self) -> None:
        """Wrap it."""
        import importlib

        owner, name = importlib.import_module(self.module), self.name
        if "." in name:
            of_class, name = name.split(".")
            owner = getattr(owner, of_class)
        real = getattr(owner, name)

        def slowly(*arguments, **keywords):
            print(f"{self.name} begins", file=sys.stderr, flush=True)
            time.sleep(self.seconds)
            return real(*arguments, **keywords)

        setattr(owner, name, slowly)


@dataclass(frozen=True)
class LargestFile:
    """No file may grow beyond so many bytes, as on a disk that is full."""

    num_bytes: int

    def __call__(self) -> None:
        """Set the limit."""
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (self.num_bytes, self.num_bytes))


def without_rights() -> None:
    """Give up the rights of the administrator, if need be, just before the run's folder is made."""
    from avi.run import train

    real = train.RunDir.create

    def create(*arguments):
        if os.getuid() == 0:
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
        return real(*arguments)

    train.RunDir.create = create


def without_home_or_listener() -> None:
    """No HOME, and a standard output that nobody reads, like `avi train | head`."""
    os.environ["HOME"] = "/nonexistent"
    os.environ.pop("JAX_COMPILATION_CACHE_DIR", None)
    reader, writer = os.pipe()
    os.dup2(writer, 1)
    os.close(reader)
    os.close(writer)


def missing_value() -> None:
    """Put a missing value into training row 3 when everything has been checked."""
    import numpy as np

    from avi.run import train

    real = train.Loop

    def loop(problem, optimizers, view, data, *arguments, **keywords):
        spoiled = data.copy()
        spoiled[3, 1] = np.nan
        return real(problem, optimizers, view, spoiled, *arguments, **keywords)

    train.Loop = loop


def step_to_infinity() -> None:
    """Let the last step of the first chunk leave parameters that are not finite, its bound good."""
    import jax
    import jax.numpy as jnp

    from avi.engine.loop import Loop

    real = Loop.fit

    def fit(*arguments):
        for chunk in real(*arguments):
            params = jax.tree.map(lambda leaf: leaf + jnp.inf, chunk.state.params)
            yield chunk._replace(state=chunk.state._replace(params=params))

    Loop.fit = fit


def infinite_evaluation() -> None:
    """Let the second held-out row have a bound that is not finite."""
    import numpy as np

    from avi.engine.evaluator import Evaluator

    real = Evaluator.bounds

    def bounds(*arguments):
        found = np.array(real(*arguments))
        found[1] = -np.inf
        return found

    Evaluator.bounds = bounds


def out_of_memory() -> None:
    """Fail in training as XLA does when there is no memory left."""
    import jax

    from avi.engine.loop import Loop

    def fit(*_):
        raise jax.errors.JaxRuntimeError(
            "RESOURCE_EXHAUSTED: Out of memory allocating 8589934592 bytes."
        )

    Loop.fit = fit
