"""`avi verify`: avi's own code against exact answers, and anyone's against its contract."""

import os
from collections.abc import Callable, Mapping
from time import perf_counter
from typing import Any

from avi.cli.command import Command, Line
from avi.cli.tables import flagged, print_json, talk_aside
from avi.cli.words import halves, own_keys, require_once, taken, with_folders
from avi.errors import ConfigError, ValidityError

HEADER = f"{'':35} {'expected':>10} {'got':>10} {'differs':>8} {'allowed':>7}"

# Nearly all of the suite's time is compiling programs that run once: half of it, at this level.
QUICK = "--xla_backend_optimization_level=1"
Hearer = Callable[[Mapping[str, Any]], None]
GROUPS = ("model", "family", "likelihood", "objective", "dataset")  # that have a contract


def run(words: list[str]) -> int:
    """Check all cases, those that only= names, or the components that the words choose."""
    flags, words = flagged(with_folders(words))
    require_once(words)
    only, others = taken(words, "only")
    if "--json" in flags:
        _as_json(only, others)
    elif others:
        of_components(others)
    else:
        main(only)
    return 0


def _as_json(only: str | None, components: list[str]) -> None:
    """Print every case or claim as JSON, whether they hold or not."""
    found: list[Any] = []
    try:
        with talk_aside():
            if components:
                of_components(components, found.append)
            else:
                main(only, found.append)
    except ValidityError:
        print_json(found)
        raise
    print_json(found)


def offer(line: Line) -> list[str]:
    """Return its key, groups, settings and flag."""
    from avi.cli import offers

    if line.current.startswith("-"):
        return offers.starting(line.current, ["-cd", "--json"])
    own = own_keys("verify")
    return offers.settings(line, [*own, *offers.keys_of_training(line.chosen)])


def _unheard(line: Mapping[str, Any]) -> None:
    """Keep nothing."""
    del line


def of_components(words: list[str], hear: Hearer = _unheard) -> None:
    """Print one line for each claim of the contracts of the groups among the words.

    Args:
        words: which choose components.
        hear: is told of every claim.

    Raises:
        ConfigError: if the words choose no component that has a contract.
        ValidityError: if a claim does not hold.
    """
    chosen = [group for group in GROUPS if group in {halves(word)[0] for word in words}]
    if not chosen:
        from avi.config.schema import nearest

        near = nearest(halves(words[0])[0], ("only", *GROUPS))
        raise ConfigError(
            f"avi verify takes only=, or what is to be checked: "
            f"{', '.join(f'{group}=' for group in GROUPS)} with other words of avi train; got "
            f"{' '.join(words)}.{near} Try avi verify only=linear, or avi verify model=vae."
        )
    _compile_quickly()
    from avi.config.compose import compose
    from avi.process.terminal import say
    from avi.verify.components import CONTRACTS, name_of

    (job,) = compose(words)
    started, done, failed = perf_counter(), 0, []
    for group in chosen:
        say(f"{group} {name_of(group, job.tree)}")
        for claim in CONTRACTS[group](job.tree):
            verdict = "ok" if claim.holds else "FAIL"
            say(f"  {verdict:4}  {claim.name}" + (f": {claim.found}" if claim.found else ""))
            hear({"group": group, **claim._asdict(), "holds": bool(claim.holds)})
            done += 1
            if not claim.holds:
                failed.append(claim.name)
    say(f"{done - len(failed)} of {done} claims hold, {perf_counter() - started:.0f} s")
    if failed:
        raise ValidityError(f"the contract is broken: {'; '.join(failed)}.")


def main(only: str | None, hear: Hearer = _unheard) -> None:
    """Print one line for each case, the whole suite or the cases whose name contains `only`.

    Args:
        only: part of a name.
        hear: is told of every case.

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
        hear({**row._asdict(), "ok": bool(row.ok)})
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
    summary="check avi, or a component of your own, against what holds",
    usage="avi verify [only=<part of a name>] | [group=choice ...] [key=value ...]",
    examples="""\
  avi verify                                avi against answers known exactly
  avi verify only=linear                    some of them
  avi verify only=linear --json             for programs
  avi verify model=mine dataset=digits      a model of your own: what must hold
                                            of its density and its simulator
  avi verify family=mine                    likewise a family, a likelihood, an
                                            objective or a data set
  avi verify -cd conf model=mine            ... whose yaml files are in conf/
""",
    run=run,
    offer=offer,
)
