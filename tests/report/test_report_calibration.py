"""What the page and the terminal say of a calibration."""

import json
import math
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from report.conftest import write_run

from avi.report.figures.calibration import difference, differences
from avi.report.run_page import report
from avi.results.calibration import CALIBRATION, OfQ, Quantity, write
from avi.results.run import read
from avi.run.calibrate import LISTED, WIDTH, lines


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    return write_run(tmp_path_factory.mktemp("calibrated") / "run")


@pytest.fixture
def run(written, tmp_path):
    return Path(shutil.copytree(written, tmp_path / "run"))


def test_the_page_says_whose_part_it_is_and_what_each_quantity_shows(written):
    page = report(read(written))
    section = page[page.index('id="calibration"') :]
    section = re.sub(r"<svg.*?</svg>", "", section[: section.index("</section>")], flags=re.DOTALL)
    assert "The mode's own q is not calibrated".replace("'", "&#39;") in section
    for words in ("too narrow", "too low", "too unlikely", "3 of 4 outside", "0 of 2 outside"):
        assert words in section
    assert "50 % (36–64)" in section
    assert "49 of 50 converged" in section
    assert "The globals are uncertain." in section


def test_a_run_without_a_calibration_has_no_section(run):
    (run / CALIBRATION).unlink()
    assert 'id="calibration"' not in report(read(run))


@pytest.mark.parametrize(
    ("own", "best", "words"),
    [
        (0.5, 0.5, "are calibrated as far as 50 rows tell"),
        (0.001, 0.5, "the fault is the mode's"),
        (0.5, 0.001, "though the best of its family by the ELBO is not"),
        (0.001, 0.001, "what is wrong at the best is the family's part"),
        (0.5, None, "own q is calibrated as far as 50 rows tell"),
        (0.001, None, "own q is not calibrated"),
    ],
)
def test_the_verdict_splits_the_fault(written, own, best, words):
    def q(p):
        return None if p is None else OfQ((Quantity("z[0]", "coordinate", p, 0.5, 1.0),))

    found = replace(read(written).calibration, own=q(own), best=q(best))
    assert words in found.verdict


def test_all_quantities_together_fail_no_more_often_than_one(written):
    """Bonferroni: twenty p-values of 0.01 are a q-wide p of 0.2."""
    found = read(written).calibration
    q = OfQ((Quantity("z", "coordinate", 0.01, 0.5, 1.0),) * 20)
    assert q.smallest_p == pytest.approx(0.2)
    assert found.holds(q)
    assert len(q.outside(0.05)) == 20


def test_the_table_of_the_terminal_fits_and_lists_the_worst_of_many(written):
    found = read(written).calibration
    assert max(map(len, lines(found))) <= WIDTH
    latents = tuple(Quantity(f"z[{d}]", "coordinate", 1 / (d + 2), 0.5, 1.0) for d in range(50))
    density = found.own.quantities[-2]
    told = lines(replace(found, own=OfQ((*latents, density)), best=None))
    shown = [line.split()[0] for line in told if line.startswith("z[")]
    assert shown == [f"z[{d}]" for d in range(50 - LISTED, 50)]
    assert any(line.startswith("log p(x, z)") for line in told)
    assert any(line.startswith(f"and {50 - LISTED} more") for line in told)


def test_the_curve_of_uniform_ranks_is_the_line_itself():
    at, above = difference(Quantity("z", "coordinate", 1.0, 0.5, 1.0, counts=(7,) * 10))
    np.testing.assert_allclose(above, 0, atol=1e-15)
    assert at.tolist() == (np.arange(11) / 10).tolist()


def test_the_curve_of_a_narrow_q_is_above_the_line_and_then_below_it():
    _, above = difference(Quantity("z", "coordinate", 0.0, 0.5, 2.0, counts=(5, 1, 0, 1, 5)))
    assert above[1] > 0 > above[-2]
    assert above[[0, -1]].tolist() == [0, 0]


def test_what_is_damaged_is_left_out_and_hostile_words_are_words(run):
    tree = json.loads((run / CALIBRATION).read_text())
    tree["own"]["quantities"][0] |= {"name": "<script>$x", "p": "x", "counts": ["y", None, 3]}
    tree["band_low"] = [1, "z"]
    tree["best"] = 7
    (run / CALIBRATION).write_text(json.dumps(tree))
    found = read(run).calibration
    assert found.best is None
    assert math.isnan(found.own.quantities[0].p)
    page = report(read(run))
    assert "<script>" not in page
    assert "&lt;script&gt;" in page
    (run / CALIBRATION).write_text("{")
    assert any("calibration.json" in sentence for sentence in read(run).damage)


def test_the_figure_has_a_panel_for_each_q(written):
    found = read(written).calibration
    sides = [("own", found.own), ("best", found.best)]
    assert len(differences(found, sides).axes) == 2
    assert len(differences(found, sides[:1]).axes) == 1


def test_what_is_written_is_read(written, tmp_path):
    found = read(written).calibration
    write(tmp_path, found)
    assert (tmp_path / CALIBRATION).read_bytes() == (written / CALIBRATION).read_bytes()


@pytest.mark.parametrize(
    ("kind", "mean_rank", "spread", "words"),
    [
        ("coordinate", 0.6, 1.0, "too low"),
        ("coordinate", 0.4, 1.0, "too high"),
        ("coordinate", 0.5, 1.5, "too narrow"),
        ("coordinate", 0.5, 0.6, "too wide"),
        ("category", 0.6, 1.0, "too rare"),
        ("category", 0.4, 1.0, "too often"),
        ("log_joint", 0.6, 1.0, "too unlikely"),
        ("log_joint", 0.4, 1.0, "too likely"),
        ("joint", 0.4, 1.0, "off"),
    ],
)
def test_a_fault_is_where_the_draws_are_seen_from_the_truth(kind, mean_rank, spread, words):
    assert Quantity("z", kind, 0.0, mean_rank, spread).fault(100) == words
