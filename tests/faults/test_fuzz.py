"""A file with an accident is read as it says, or refused; one that only looks different is read."""

import contextlib
import copy
import os
import random
import signal
import time
from collections import Counter

import numpy as np
import pytest
from faults.fuzzing import KINDS, config_kind, damage, encoded, respelled_manifest, same
from faults.fuzzing import safetensors_state as random_state
from faults.processes import MODES, SOAK, TINY
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from avi.config.build import load_experiment
from avi.config.compose import compose
from avi.datasets.contract import LARGEST_COUNT
from avi.datasets.tables import PLAIN, observations, read_again
from avi.errors import CheckpointError, ConfigError, DataError
from avi.rundir import RunDir, checkpoints
from avi.rundir.bounded import read_tree
from avi.rundir.names import config_digest

TYPED = (DataError, ConfigError, CheckpointError)
# Of all kinds together, after which no new file is made.
SECONDS = float(os.environ.get("AVI_SOAK_SECONDS", "600")) if SOAK else 20.0
FILES = 10**9 if SOAK else 240  # of each kind
SEED = int(os.environ.get("AVI_FUZZ_SEED", "0")) or time.time_ns() % 2**32
SLOWEST = 60  # seconds for one file on a machine that has other things to do
TALLY: dict[str, Counter] = {}
FUZZ = settings(
    max_examples=int(3 * SECONDS),
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)


@contextlib.contextmanager
def no_hang():
    before = signal.signal(signal.SIGALRM, lambda *_: pytest.fail("It hung."))
    signal.alarm(SLOWEST)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def attempt(read, *arguments):
    """Return what was read, or the words of the typed error."""
    try:
        return read(*arguments), None
    except TYPED as error:
        return None, str(error)


def rounds(name, share):
    """Yield generators of random numbers until there were files, or seconds, enough."""
    end = time.monotonic() + SECONDS * share
    for number in range(FILES):
        if time.monotonic() > end and number > 20:
            return
        yield f"{SEED} {name} {number}", random.Random(f"{SEED} {name} {number}")


@pytest.fixture(scope="module")
def tree():
    return dict(compose([*TINY, *MODES["semi_amortized"]])[0].tree)


@pytest.mark.filterwarnings("ignore")  # of the independent readers
@pytest.mark.parametrize("name", [*KINDS, "config"])
def test_a_spoiled_file_is_read_as_it_says_or_refused(name, tree, tmp_path):
    kind = config_kind(tree) if name == "config" else KINDS[name]
    tally = TALLY.setdefault(name, Counter())
    path = tmp_path / f"file{kind.suffix}"
    for seed, rng in rounds(name, 0.08):
        good = kind.make(rng)
        path.write_bytes(good)
        original = kind.read(path)
        harmless = rng.random() < 0.3
        content = rng.choice(kind.benign)(good, rng) if harmless else damage(good, rng)
        path.write_bytes(content)
        tally["files"] += 1
        with no_hang():
            found, refusal = attempt(kind.read, path)
        if refusal is not None:
            assert not harmless, (seed, content, refusal)
            assert str(path) in refusal, seed
            tally["refused"] += 1
            continue
        tally["read"] += 1
        if harmless:
            assert same(found, original), (seed, content)
            tally["harmless"] += 1
        elif content != good:
            _require_agreement(kind, content, found, seed)


def _require_agreement(kind, content, found, seed):
    try:
        reference = kind.reference(content)
    except Exception:
        return  # an independent reader that is stricter proves nothing
    assert same(_numbers(found), _numbers(reference)), (seed, content, found, reference)


def _numbers(tree):
    """Return the tree with what yaml 1.2 calls a number made one: pyyaml wants a sign and a dot."""
    if isinstance(tree, dict):
        return {key: _numbers(child) for key, child in tree.items()}
    if isinstance(tree, list):
        return [_numbers(child) for child in tree]
    if isinstance(tree, str) and tree[:1] in "+-.0123456789" and "e" in tree.lower():
        with contextlib.suppress(ValueError):
            return float(tree)
    return tree


@pytest.mark.parametrize("part", ["state.safetensors", "manifest.json"])
def test_a_spoiled_checkpoint_gives_its_arrays_or_is_refused(part, tmp_path):
    tally = TALLY.setdefault(part, Counter())
    run = RunDir.create(tmp_path / "run")
    run.write_config({"seed": 0})
    for seed, rng in rounds(part, 0.1):
        arrays = random_state(rng)
        folder = checkpoints.save(run, 1, arrays, {"valid": -1.5, "seconds": 2}, keep_last=1)
        content = (folder / part).read_bytes()
        harmless = rng.random() < 0.3
        if not harmless:
            spoiled = damage(content, rng)
        elif part == "manifest.json":
            spoiled = respelled_manifest(content, rng)
        else:
            spoiled = encoded(dict(reversed(arrays.items())))
        (folder / part).write_bytes(spoiled)
        tally["files"] += 1
        with no_hang():
            found, refusal = attempt(checkpoints.load, run)
        if refusal is not None:
            assert not harmless, (seed, spoiled)
            tally["refused"] += 1
            continue
        tally["read"] += 1
        tally["harmless"] += harmless
        assert same(found.arrays, arrays), (seed, spoiled)


# Values, rather than bytes: what a person could write.

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-3, 300)
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["adam", "1e-3", "null", "-0", "[1]", "cpu", "float64", "theta", ""]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["_target_", "steps", "widths"]), inner, max_size=2)
    ),
    max_leaves=4,
)


def places(node, path=()):
    for key, child in node.items() if isinstance(node, dict) else ():
        yield (*path, key)
        yield from places(child, (*path, key))


@FUZZ
@given(data=st.data())
def test_a_config_of_any_values_is_built_or_refused(data, tree, tmp_path_factory):
    changed = copy.deepcopy(tree)
    place = data.draw(st.sampled_from(sorted(places(tree))))
    node = changed
    for name in place[:-1]:
        node = node[name]
    value = data.draw(VALUES)
    node[place[-1]] = value
    run = RunDir(tmp_path_factory.getbasetemp() / "fuzzed")
    run.path.mkdir(exist_ok=True)
    tally = TALLY.setdefault("config values", Counter())
    tally["files"] += 1
    try:
        run.write_config(changed)
    except UnicodeEncodeError:  # no file holds half a surrogate
        return
    try:
        with no_hang():
            load_experiment(read_tree(run.config_path))
    except TYPED:
        tally["refused"] += 1
        return
    tally["read"] += 1
    assert config_digest(read_tree(run.config_path)) == config_digest(changed)


def observed(path, support):
    """Return the rows of a file as a bound would score them."""
    return observations(read_again(path, PLAIN, None, None), support, 2, "refuse")


@FUZZ
@given(data=st.data())
def test_rows_of_any_numbers_are_as_the_contract_says(data, tmp_path_factory):
    support = data.draw(st.sampled_from(["binary", "unit", "count", "real"]))
    pool = st.sampled_from([0.0, 1.0, -0.0, 0.5, 2.0, 1.5, -1.0, 255.0, 2.0**24, 2.0**24 + 2])
    number = pool | st.floats(width=32) | st.sampled_from([0.0, 1.0])
    rows = data.draw(st.lists(st.lists(number, min_size=2, max_size=2), min_size=1, max_size=3))
    array = np.array(rows, data.draw(st.sampled_from(["f4", "f8"])))
    path = tmp_path_factory.getbasetemp() / "rows.npy"
    np.save(path, array)
    inside = (
        np.isfinite(array)
        & {
            "binary": (array == 0) | (array == 1),
            "unit": (array >= 0) & (array <= 1),
            "count": (array >= 0) & (array <= LARGEST_COUNT) & (array == np.floor(array)),
            "real": np.isfinite(array),
        }[support]
    )
    tally = TALLY.setdefault("rows", Counter())
    tally["files"] += 1
    found, refusal = attempt(observed, path, support)
    if refusal is not None:
        assert not inside.all()
        bad = np.argwhere(~np.isfinite(array) if not np.isfinite(array).all() else ~inside)
        row, column = map(int, bad[0])
        assert f"row {row}, column {column}" in refusal
        tally["refused"] += 1
        return
    tally["read"] += 1
    assert inside.all()
    assert same(found, array)


def test_enough_was_read_that_refusing_everything_would_fail():
    of_bytes = [tally for tally in TALLY.values() if tally["harmless"]]
    if len(of_bytes) < len(KINDS):
        pytest.skip("the files were spoiled in another process")
    total = sum(of_bytes, Counter())
    assert total["harmless"] >= total["files"] / 5
    for name, tally in TALLY.items():
        print(f"\n{name}: {dict(tally)}", end="")
