"""`avi verify`: avi's own code against answers that are known exactly."""

import os
from time import perf_counter

from avi.cli.command import Command, Line
from avi.cli.words import own_keys, own_words
from avi.errors import ConfigError, ValidityError

HEADER = f"{'':35} {'expected':>10} {'got':>10} {'differs':>8} {'allowed':>7}"

# Nearly all of the suite's time is compiling programs that run once: half of it, at this level.
QUICK = "--xla_backend_optimization_level=1"


def run(words: list[str]) -> int:
    """Check all cases, or those that only= names."""
    own, _ = own_words("verify", words)
    main(own.get("only"))
    return 0


def offer(line: Line) -> list[str]:
    """Return its keys."""
    from avi.cli import offers

    return offers.settings(line, own_keys("verify"))


def main(only: str | None) -> None:
    """Print one line for each case, the whole suite or the cases whose name contains `only`.

    Raises:
        ConfigError: if no case has such a name.
        ValidityError: if a case differs by more than its tolerance.
    """
    _compile_quickly()
    from avi.process.terminal import say
    from avi.verify import suite

    if not suite.names(only):
        raise ConfigError(
            f"no case has {only!r} in its name. Try one of {', '.join(suite.SECTIONS)}."
        )
    started, section, done, failed = perf_counter(), "", 0, []
    say(HEADER)
    for row in suite.rows(only):
        if row.section != section:
            section = row.section
            say(section)
        verdict = "ok" if row.ok else "FAIL"
        say(
            f"  {row.name:33} {row.expected:10.4f} {row.got:10.4f} {row.difference:8.0e} "
            f"{row.tolerance:7.0e} {verdict:>4}"
        )
        done += 1
        if not row.ok:
            failed.append(f"{row.section}: {row.name}")
    seconds = perf_counter() - started
    say(f"{done - len(failed)} of {done} cases within tolerance, {seconds:.0f} s")
    if failed:
        raise ValidityError(f"not what is known exactly: {'; '.join(failed)}.")


def _compile_quickly() -> None:
    """Start XLA with QUICK before the words of the user; no effect where it has started."""
    import jax

    before = os.environ.get("XLA_FLAGS")
    os.environ["XLA_FLAGS"] = f"{QUICK} {before or ''}".strip()
    jax.jit(lambda: 0)()
    if before is None:
        del os.environ["XLA_FLAGS"]
    else:
        os.environ["XLA_FLAGS"] = before


COMMAND = Command(
    name="verify",
    summary="check avi against exact answers, one line each",
    usage="avi verify [key=value ...]",
    examples="""\
  avi verify
  avi verify only=linear
""",
    run=run,
    offer=offer,
)
