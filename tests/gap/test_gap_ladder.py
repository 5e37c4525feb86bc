"""The ladder of families on posteriors that are known: order, closed forms, and what is left."""

import csv
import dataclasses

import numpy as np
import pytest
from gap import adversaries
from gap.gaussian_case import SETTINGS, make_case, truth

from avi import gap
from avi.families.coupling_flow import CouplingFlow
from avi.families.gaussian import DiagonalGaussian, FullRankGaussian
from avi.families.low_rank_gaussian import LowRankGaussian
from avi.gap import ladder as climbing
from avi.gap.measure import measure
from avi.population import joined
from avi.results import ladder, points
from avi.results.store import Files

FEW = dataclasses.replace(SETTINGS, num_points=40, splits=("test",), num_draws=400)
FAMILIES = {
    "diagonal": DiagonalGaussian(3),
    "low rank": LowRankGaussian(3, 1),
    "full": FullRankGaussian(3),
}


def climb(folder, families):
    """Return the rungs on the linear-Gaussian case, by family, and the lines of every row."""
    case = make_case(DiagonalGaussian(3))
    gap.report(
        case.experiment,
        case.params,
        case.splits,
        settings=FEW,
        run=folder,
        identity="a",
        families=families,
    )
    with open(folder / ladder.LADDER_ROWS, encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    rungs = {rung.family: rung for rung in ladder.read(Files(folder)).rungs}
    return case, rungs, rows


@pytest.fixture(scope="module")
def climbed(tmp_path_factory):
    """Return what the Gaussian families reach."""
    folder = tmp_path_factory.mktemp("ladder")
    return *climb(folder, FAMILIES), points.read(Files(folder))


def test_the_families_of_gaussians_reach_what_the_closed_form_says(climbed):
    case, rungs, _, _ = climbed
    expected = truth(case, np.zeros((0, 6)), np.zeros((0, 6))).approximation
    whole = rungs["full"].bound - rungs["diagonal"].bound
    # Certified to 0.01 nats at both ends; draws are shared, and a quadratic leaves no noise.
    assert abs(whole - expected) < 0.02
    assert abs(rungs["diagonal"].left - expected) < 0.02
    assert abs(rungs["full"].left) < 0.02
    # With three latents a covariance of rank one beside the diagonal holds nearly every one.
    assert 0.1 * expected < rungs["low rank"].gain < expected + 0.02


def test_nested_families_rise_on_every_row_and_are_certified(climbed):
    _, rungs, rows, _ = climbed
    assert [rungs[name].holds for name in FAMILIES] == ["", "diagonal", "low rank"]
    assert [rungs[name].below for name in list(FAMILIES)[1:]] == [0, 0]
    for rung in rungs.values():
        assert rung.converged >= 0.95 * rung.n
    by_family = {
        name: np.array([float(row["bound"]) for row in rows if row["family"] == name])
        for name in FAMILIES
    }
    for smaller, larger in (("diagonal", "low rank"), ("low rank", "full")):
        # Of single rows, whose draws leave noise, `below` above has counted those that fall.
        assert np.mean(by_family[larger] - by_family[smaller]) > -FEW.tolerance


def test_the_first_rung_is_the_family_of_the_report(climbed):
    _, rungs, rows, own = climbed
    found = {int(row["row"]): float(row["bound"]) for row in rows if row["family"] == "diagonal"}
    # Both ends are certified; a row's two lam* differ by noise, which the mean over rows removes.
    assert abs(np.mean([found[row.row] - row.bound_star for row in own])) < FEW.tolerance
    assert rungs["diagonal"].params_per_datapoint == 6
    assert not rungs["diagonal"].gain_value.known


@pytest.mark.slow
def test_no_certified_row_of_a_rung_is_on_a_lesser_hill_than_a_smaller_family_reaches():
    """The posterior has several hills, and the truth of the smallest family is numpy's."""
    rows = adversaries.rows_of(adversaries.ADVERSARIES["waves"], 8)
    context = adversaries.context_of("waves", rows, audit=0.1, width=8)
    found = measure(context)
    families = {"full": FullRankGaussian(2)}
    points, of_split = joined(found.points), found.of_split
    _, climbed = climbing.climb(context, points, of_split, found.reported, families)
    certified = [row for row in climbed if row.converged]
    assert len(certified) >= 4
    for row in certified:
        _, best = adversaries.truth("waves", rows[row.row].astype(np.float64))
        noise = adversaries.Z * row.bound_se
        assert row.bound > best - adversaries.WRONG - noise, row


@pytest.mark.slow
def test_a_flow_with_shared_weights_is_followed_by_one_with_its_own(tmp_path, monkeypatch):
    monkeypatch.setattr(climbing, "FITTED", 300)
    flow = CouplingFlow(3, 2, "shared", layers=2, width=4, transform="affine")
    _, rungs, _ = climb(tmp_path, {"diagonal": DiagonalGaussian(3), "flow": flow})
    own = rungs["flow, own weights"]
    assert own.holds == "flow"
    assert own.below == 0
    assert own.shared_weights == 0
    assert own.params_per_datapoint == rungs["flow"].params_per_datapoint + (
        rungs["flow"].shared_weights
    )
    # The posterior of every row has one covariance: weights that all share can hold it.
    assert rungs["flow"].bound > rungs["diagonal"].bound + 0.1
    assert rungs["flow"].left > -0.02
