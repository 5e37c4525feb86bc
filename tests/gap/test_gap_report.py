"""The report against closed forms, and the identities that no report may break."""

import csv
import dataclasses
from types import SimpleNamespace

import jax
import numpy as np
import pytest
from gap.gaussian_case import LATENT, SETTINGS, make_case, truth

from avi import gap
from avi.datasets.linear_gaussian import LinearGaussian as Rows
from avi.engine.evaluator import Evaluator
from avi.errors import NonFiniteError, ValidityError
from avi.evidence.iwae import ImportanceSampling
from avi.evidence.none import NoEvidence
from avi.families.gaussian import DiagonalGaussian, FullRankGaussian
from avi.gap import context, doubling, selection
from avi.objectives.iwae import ImportanceWeighted
from avi.population import Points, choose
from avi.randomness import key_for
from avi.results.flags import Validity
from avi.results.gap import read as read_summary
from avi.results.points import read as read_points
from avi.results.record import plain
from avi.results.store import Files

Z = 4.75  # two-sided false alarm 2e-6 for a normal statistic


@pytest.fixture(scope="module", params=[DiagonalGaussian, FullRankGaussian])
def case(request):
    return make_case(request.param(LATENT))


@pytest.fixture(scope="module")
def reported(case, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    summary = gap.report(*case, settings=SETTINGS, run=folder)
    with open(folder / "gap" / "points.csv", encoding="utf-8") as file:
        points = list(csv.DictReader(file))
    return case, summary, points, folder


def column(points, name, split=None):
    return np.array([float(one[name]) for one in points if split in (None, one["split"])])


def lams_of(case, points):
    """Return the stored rows and the mode's own lam of every reported point."""
    sizes = [len(part) for part in (case.splits.train, case.splits.valid, case.splits.test)]
    stored = np.concatenate([case.splits.train, case.splits.valid, case.splits.test])
    ids = column(points, "row").astype(int)
    evaluator = Evaluator(case.experiment.problem, case.experiment.dataset.view, sizes[0])
    key = key_for(case.experiment.seed, "infer")
    return stored[ids], evaluator.lams(case.params, Points(stored[ids], ids), key)


def test_the_amortization_gap_of_every_point_is_that_of_the_closed_form(reported):
    case, _, points, _ = reported
    expected = truth(case, *lams_of(case, points)).amortization
    noise = np.hypot(column(points, "gap_se"), 1e-4)
    # The search may stop within the tolerance of the optimum, never beyond it.
    surplus = column(points, "amortization_gap") - expected
    assert np.all(surplus < Z * noise)
    assert np.all(surplus > -Z * noise - SETTINGS.tolerance)


def test_the_approximation_gap_is_that_of_the_closed_form(reported):
    case, summary, points, _ = reported
    expected = truth(case, *lams_of(case, points)).approximation
    for split in summary.splits.values():
        found = split.approximation_gap
        lacking = split.certificate.mean
        assert abs(found.mean - expected - lacking) < Z * found.se_mc + 1e-3


def test_the_gaps_add_up_identically(reported):
    _, _, points, _ = reported
    total = column(points, "approximation_gap") + column(points, "amortization_gap")
    np.testing.assert_allclose(total, column(points, "inference_gap"), atol=1e-9)
    bound = column(points, "evidence") - column(points, "bound")
    np.testing.assert_allclose(bound, column(points, "inference_gap"), atol=1e-9)


def test_khat_at_the_optimum_is_that_of_theory(reported):
    """The tail index of p / q* is 1 - lambda_min(D^-1/2 Lambda D^-1/2) (methods O9), or 0."""
    case, summary, points, _ = reported
    scaled = case.params.theta["weight"] / np.exp(case.params.theta["log_scale"])[:, None]
    precision = np.eye(LATENT) + np.asarray(scaled.T @ scaled, np.float64)
    deviation = np.sqrt(np.diag(precision))
    diagonal = isinstance(case.experiment.problem.family, DiagonalGaussian)
    smallest = np.linalg.eigvalsh(precision / np.outer(deviation, deviation))[0]
    khats = column(points, "khat")
    assert np.isfinite(khats).all()
    assert khats.mean() < (1 - smallest if diagonal else 0) + 0.05
    if diagonal:
        assert khats.mean() > 1 - smallest - 0.3  # of 400 draws the farthest are missing
    assert summary.validity.khat_ok is None  # exact evidence rests on no weights


def test_every_point_is_certified_and_no_gap_is_negative_beyond_noise(reported):
    _, summary, points, _ = reported
    assert summary.validity.q_star_converged
    assert summary.validity.complete is True
    assert not summary.validity.negative_gap
    assert {one["converged"] for one in points} == {"true"}
    gaps, errors = column(points, "amortization_gap"), column(points, "gap_se")
    assert np.all(gaps > -Z * errors - 1e-5)


def test_the_mean_of_the_table_is_that_of_the_summary(reported):
    _, summary, points, folder = reported
    for split, one in summary.splits.items():
        gaps = column(points, "amortization_gap", split)
        assert one.n == len(gaps) == 40
        np.testing.assert_allclose(one.amortization_gap.mean, gaps.mean(), rtol=1e-12)
        se = gaps.std(ddof=1) / np.sqrt(len(gaps))
        np.testing.assert_allclose(one.amortization_gap.se, se, rtol=1e-12)
    assert plain(read_summary(Files(folder))) == plain(summary)
    assert len(read_points(Files(folder))) == len(points)


def test_points_do_not_depend_on_which_others_were_asked_for(case, reported, tmp_path):
    _, _, points, _ = reported
    few = dataclasses.replace(SETTINGS, num_points=7, splits=("test",))
    gap.report(*case, settings=few, run=tmp_path)
    with open(tmp_path / "gap" / "points.csv", encoding="utf-8") as file:
        again = list(csv.DictReader(file))
    before = {one["row"]: one for one in points}
    assert len(again) == 7
    for one in again:
        assert one == before[one["row"]]  # bit for bit: the text has all digits


def test_a_killed_report_goes_on_where_it_was(case, reported, tmp_path):
    _, _, points, _ = reported
    rounds = []

    class Killed(Exception):
        pass

    def kill(what, share):
        rounds.append(share)
        if what.startswith("λ*") and share > 0.3:
            raise Killed

    def report(on_progress):
        return gap.report(
            *case, settings=SETTINGS, run=tmp_path, on_progress=on_progress, identity="same"
        )

    with pytest.raises(Killed):
        report(kill)
    kept = (tmp_path / "gap" / "parts" / "search.jsonl").read_text().splitlines()
    assert 0 < len(kept) < 80
    shares = []
    report(lambda what, share: shares.append(share) if what.startswith("λ*") else None)
    assert shares[0] == len(kept) / 80
    with open(tmp_path / "gap" / "points.csv", encoding="utf-8") as file:
        assert list(csv.DictReader(file)) == points


def test_more_rows_contain_the_fewer():
    splits = Rows(60, 5, 50, 6, 3, 0.7, seed=3).load()
    first, both = choose(splits, "test", 0, 10), choose(splits, "test", 0, 20)
    np.testing.assert_array_equal(first.ids, both.ids[:10])
    assert both.ids.min() >= 65


def test_a_clock_that_has_run_out_says_what_was_skipped(case, tmp_path):
    settings = dataclasses.replace(SETTINGS, seconds=1e-6)
    summary = gap.report(*case, settings=settings, run=tmp_path)
    assert {split: one.n for split, one in summary.splits.items()} == {"train": 8, "test": 8}
    assert any("64 of 80 rows were not searched" in sentence for sentence in summary.skipped)
    assert summary.validity.complete is False
    gap.check(summary, strict=False)
    with pytest.raises(ValidityError, match="complete"):
        gap.check(summary, strict=True)


def test_evidence_that_the_model_knows_is_never_short_of_time(case, tmp_path):
    """It comes before the search: every row that is left in has it, and none is said to lack it."""
    settings = dataclasses.replace(SETTINGS, seconds=1e-6)
    summary = gap.report(*case, settings=settings, run=tmp_path)
    assert not [sentence for sentence in summary.skipped if "evidence" in sentence]
    assert summary.validity.evidence_se_ok is True
    with open(tmp_path / "gap" / "points.csv", encoding="utf-8") as file:
        points = list(csv.DictReader(file))
    assert len(points) == 16
    rows = np.concatenate([case.splits.train, case.splits.valid, case.splits.test])
    x = rows[[int(one["row"]) for one in points]]
    exact = jax.vmap(case.experiment.problem.model.log_evidence, (None, 0))(case.params.theta, x)
    np.testing.assert_allclose(column(points, "evidence"), exact, rtol=1e-5)


def test_a_gap_that_contradicts_itself_is_an_error():
    validity = Validity(q_star_converged=False, n_ok=True, negative_gap=False)
    summary = SimpleNamespace(validity=validity, sandwich_due=False)
    gap.check(summary, strict=False)
    with pytest.raises(ValidityError, match="q_star_converged"):
        gap.check(summary, strict=True)
    with pytest.raises(ValidityError, match="cannot be negative"):
        gap.check(SimpleNamespace(validity=Validity(negative_gap=True)), strict=False)


def test_bounds_are_scored_on_draws_that_chose_nothing(monkeypatch):
    """Who asks for which key, in a report of a case that is compiled for no other test."""
    asked = []
    for module in (context, selection):
        monkeypatch.setattr(
            module,
            "key_for",
            lambda seed, purpose, name=module.__name__: (
                asked.append((name, purpose)) or key_for(seed, purpose)
            ),
        )
    settings = dataclasses.replace(SETTINGS, num_points=2, splits=("test",))
    gap.report(*make_case(DiagonalGaussian(LATENT)), settings=settings, run=None)
    assert {purpose for name, purpose in asked if name == selection.__name__} == {"select"}
    assert {purpose for name, purpose in asked if name == context.__name__} == {"infer", "score"}
    keys = [np.asarray(jax.random.key_data(key_for(0, name))) for name in ("select", "score")]
    assert not np.array_equal(*keys)


@pytest.fixture(scope="module")
def weighted(tmp_path_factory):
    """An encoder trained on IWAE-20, without evidence."""
    case = make_case(
        DiagonalGaussian(LATENT), objective=ImportanceWeighted(20), evidence=NoEvidence()
    )
    settings = dataclasses.replace(SETTINGS, num_points=8, splits=("test",), frontier=8)
    return gap.report(*case, settings=settings, run=tmp_path_factory.mktemp("weighted"))


def test_the_decomposition_is_in_the_elbo_whatever_was_trained(weighted):
    assert weighted.bound == "ELBO"
    assert weighted.objective_trained == "iwae"
    assert weighted.label == "ELBO gap, encoder trained on IWAE-20"
    same = weighted.splits["test"].same_bound
    assert same.name == "IWAE-20 gap"
    assert same.certified is False
    # IWAE-20 lies between the ELBO and the evidence: there is less to gain in it.
    assert same.mean < weighted.splits["test"].amortization_gap.mean + 0.05


def test_without_evidence_the_amortization_gap_stands_alone(weighted):
    one = weighted.splits["test"]
    assert not any(each.known for each in (one.evidence, one.approximation_gap, one.inference_gap))
    assert one.amortization_gap.interval is None  # eight points
    assert not weighted.validity.n_ok


def test_a_row_that_is_not_finite_is_named_and_leaves_its_split_without_means(tmp_path):
    case = make_case(DiagonalGaussian(LATENT))
    settings = dataclasses.replace(SETTINGS, num_points=8, budget=2000)
    whole = gap.report(*case, settings=settings, run=None)
    lost = choose(case.splits, "test", 0, 8).ids[3]
    rows = case.splits.test.copy()
    rows[lost - len(case.splits.train) - len(case.splits.valid), 0] = np.nan
    broken = case._replace(splits=case.splits._replace(test=rows))
    summary = gap.report(*broken, settings=settings, run=tmp_path)
    one = summary.splits["test"]
    assert (one.n, one.not_finite) == (8, 1)
    names = ("bound", "bound_star", "evidence", "amortization_gap", "approximation_gap")
    assert not any(getattr(one, name).known for name in (*names, "inference_gap", "certificate"))
    # Rows do not depend on which others were asked for.
    assert plain(summary.splits["train"]) == plain(whole.splits["train"])
    assert summary.not_finite == (lost,)
    assert summary.validity.finite is False
    assert whole.validity.finite is True
    gap.require_finite(whole)
    with pytest.raises(NonFiniteError, match=f"rows {lost}"):
        gap.require_finite(summary)
    with pytest.raises(ValidityError, match="finite"):
        gap.check(summary, strict=True)
    with open(tmp_path / "gap" / "points.csv", encoding="utf-8") as file:
        flags = {int(row["row"]): row["flags"] for row in csv.DictReader(file)}
    assert [row for row, words in flags.items() if "not-finite" in words] == [lost]
    assert len(flags) == 16


def test_weights_that_refuse_the_name_of_evidence_leave_it_empty_in_the_table(tmp_path):
    """Twenty-five weights of a mean-field q have too few below the limit, 0.28."""
    weighted = ImportanceSampling(25, widening=1.0, prior_share=1e-6)
    case = make_case(DiagonalGaussian(LATENT), evidence=weighted)
    settings = dataclasses.replace(SETTINGS, num_points=8, splits=("test",), budget=2000)
    summary = gap.report(*case, settings=settings, run=tmp_path)
    assert not summary.splits["test"].evidence.known
    with open(tmp_path / "gap" / "points.csv", encoding="utf-8") as file:
        points = list(csv.DictReader(file))
    assert {(one["evidence"], one["approximation_gap"]) for one in points} == {("", "")}
    bound = column(points, "importance_bound").mean()
    assert bound == pytest.approx(summary.splits["test"].importance_bound.mean, rel=1e-12)


def test_the_frontier_begins_at_nothing_and_ends_at_the_gap(weighted):
    curve = weighted.frontier["test"]
    assert [one.steps for one in curve[:-1]] == [0, 1, 2, 5, 10, 20, 50, 100, 200, 500]
    assert np.isnan(curve[-1].steps)  # until every row was certified
    assert curve[0].mean == 0
    assert curve[-1].mean == weighted.splits["test"].amortization_gap.mean
    # 500 steps, averaged, come close to the end, and no further: the end is the best there is.
    assert curve[-2].mean > 0.97 * curve[-1].mean
    assert curve[-2].mean < curve[-1].mean + 0.05


@pytest.mark.parametrize(("num_points", "first"), [(10, 100), (50, 10)])
def test_points_are_doubled_until_the_interval_is_narrow(num_points, first, tmp_path, monkeypatch):
    """Ten rows have no interval, nor have twenty; forty do, and it is narrower than asked for."""
    monkeypatch.setattr(doubling, "FIRST_POINTS", first)
    case = make_case(DiagonalGaussian(LATENT), evidence=NoEvidence())
    settings = dataclasses.replace(
        SETTINGS, num_points=num_points, splits=("test",), half_width=50.0
    )
    summary = gap.report(*case, settings=settings, run=tmp_path)
    one = summary.splits["test"]
    assert one.n == 40
    low, high = one.amortization_gap.interval
    assert (high - low) / 2 <= 50.0
    assert (summary.half_width, summary.doublings) == (50.0, 2)
