"""Every field of a record is shown by a page, or the documentation says what it is for."""

import json
import re
import shutil
from dataclasses import fields, is_dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from report.conftest import write_run

from avi.report.compare_page import write_comparison
from avi.report.run_page import report
from avi.results import (
    against,
    calibration,
    comparison,
    facts,
    flags,
    form,
    gap,
    ladder,
    lams,
    metrics,
    parts,
    points,
    snapshot,
    topics,
    weights,
)
from avi.results.gap import Generalisation, SameBound, Sizes
from avi.results.record import restored, table
from avi.results.run import read
from avi.results.store import Files
from avi.rundir import RunDir

MODULES = (
    against,
    calibration,
    comparison,
    facts,
    flags,
    form,
    gap,
    ladder,
    lams,
    metrics,
    parts,
    points,
    snapshot,
    topics,
    weights,
)
RECORDS = [
    kind
    for module in MODULES
    for kind in vars(module).values()
    if isinstance(kind, type) and is_dataclass(kind) and kind.__module__ == module.__name__
]
DOCUMENTS = Path(__file__).parents[2] / "docs" / "run-folder.md"
OLD_TOPICS = Path(__file__).parents[1] / "data" / "runs" / "lda"


@pytest.fixture
def read_fields(monkeypatch):
    """Return the (record, field) pairs that are read while the test runs."""
    seen = set()
    for kind in RECORDS:

        def watched(self, name):
            for owner in type(self).__mro__:
                if name in vars(owner).get("__annotations__", {}):
                    seen.add((owner.__name__, name))
            return object.__getattribute__(self, name)

        monkeypatch.setattr(kind, "__getattribute__", watched, raising=False)
    return seen


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Runs that hold everything: two seeds, an encoder on IWAE, one without an encoder, topics."""
    root = tmp_path_factory.mktemp("fields")
    plain = [write_run(root / f"seed{seed}", seed=seed) for seed in (0, 1)]
    other = write_run(root / "weighted", objective="iwae")
    summary = gap.read(Files(other))
    test = replace(summary.splits["test"], same_bound=SameBound("IWAE-5 gap", 0.7, 0.1))
    lost = Generalisation(0.01, 0.004, Sizes(100, 100))
    gap.write(
        other,
        replace(
            summary,
            splits={**summary.splits, "test": test},
            generalisation_gap=lost,
            half_width=0.1,
        ),
    )
    return [*plain, other, write_run(root / "svi", inference="svi"), OLD_TOPICS]


def test_every_field_is_shown_or_documented(runs, read_fields, tmp_path, monkeypatch):
    for folder in runs:
        report(read(folder))
    monkeypatch.setattr(comparison, "write", lambda *_: [])  # writing reads all there is
    write_comparison(runs[:4], tmp_path)
    documented = set(re.findall(r"`(\w+)`", DOCUMENTS.read_text("utf-8")))
    own = {
        (kind.__name__, field.name)
        for kind in RECORDS
        for field in fields(kind)
        if field.name in kind.__annotations__
    }
    assert {name for name in own - read_fields if name[1] not in documented} == set()


@pytest.mark.parametrize(
    "kept",
    [
        "run.json",
        gap.SUMMARY,
        points.POINTS,
        "metrics.jsonl",
        "topics",
        parts.PARTS,
        ladder.LADDER,
        against.AGAINST,
        calibration.CALIBRATION,
    ],
)
def test_what_is_read_and_written_again_is_the_same_file(kept, runs, tmp_path):
    """Of a record's own fields nothing is lost or changed on the way, to the last digit."""
    folder = Path(shutil.copytree(OLD_TOPICS if kept == "topics" else runs[2], tmp_path / "run"))
    files, run = Files(folder), RunDir(folder)
    path = folder / ("topics.json" if kept == "topics" else kept)
    before = path.read_bytes()
    if kept == "run.json":
        facts.record(run, **vars(facts.read(files)))
    elif kept == gap.SUMMARY:
        gap.write(folder, gap.read(files))
    elif kept == points.POINTS:
        points.write(folder, points.read(files), points.Observations())
    elif kept == parts.PARTS:
        parts.write(folder, parts.read(files))
    elif kept == calibration.CALIBRATION:
        calibration.write(folder, calibration.read(files))
    elif kept == ladder.LADDER:
        ladder.write(folder, ladder.read(files), [])
    elif kept == against.AGAINST:
        against.write(folder, against.read(files), against.read_rows(files))
    elif kept == "metrics.jsonl":
        lines = metrics.measured(run)
        path.unlink()
        metrics.append(run, lines, 0.0)
    else:
        learned = topics.read(files)
        topics.write(folder, learned, np.zeros(0), np.zeros((0, len(learned.topics))))
    again = path.read_bytes()
    if kept == "run.json":
        before, again = json.loads(before), json.loads(again)
    assert again == before


def test_a_comparison_is_read_as_it_was_written(runs, tmp_path):
    rows = write_comparison(runs[:4], tmp_path).rows
    compared, seeds = comparison.read(tmp_path)
    assert [(row.label, row.gap, row.seed) for row in compared] == [
        (row.label, row.gap, row.seed) for row in rows
    ]
    assert [one.runs for one in seeds] == [2]
    assert table(comparison.Compared, compared) == (tmp_path / "comparison.csv").read_text("utf-8")


def test_what_is_no_number_is_unknown_field_by_field():
    tree = {"n": "many", "bound": [], "amortization_gap": {"mean": "1.5", "se": 10**400}}
    tree |= {"endings": ["x", {"ending": 3, "n": 2}], "evidence": {"interval": [1, "x"], "kind": 7}}
    one = restored(gap.SplitSummary, tree)
    assert np.isnan(one.n)
    assert not one.bound.known
    assert one.amortization_gap.mean == 1.5
    assert np.isnan(one.amortization_gap.se)
    assert [(end.ending, end.n) for end in one.endings] == [("", 2)]
    assert one.evidence.interval is None
    assert one.evidence.kind == ""


def test_run_json_has_no_field_that_no_reader_knows(tmp_path):
    with pytest.raises(TypeError, match="speed"):
        facts.record(RunDir(tmp_path), speed=3)


def test_every_flag_has_its_sentences_or_a_line_of_its_own_on_the_page():
    told = {"q_star_converged", "finite", "doubling_ok"}  # with their numbers, per split
    assert {one.name for one in flags.SENTENCES} | told == {
        field.name for field in fields(flags.Validity)
    }
    assert all(one.holds != one.fails for one in flags.SENTENCES)
