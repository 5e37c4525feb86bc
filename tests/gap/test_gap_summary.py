"""What a summary makes of rows that are written down here: nothing compiles."""

import dataclasses
from contextlib import nullcontext
from types import SimpleNamespace

import numpy as np
import optax
import pytest
from gap.gaussian_case import LATENT, SETTINGS, make_case

from avi.errors import NonFiniteError, ValidityError
from avi.evidence.ais import AnnealedImportanceSampling
from avi.evidence.exact import Exact
from avi.evidence.iwae import ImportanceSampling
from avi.families.dirichlet import Dirichlet
from avi.families.gaussian import DiagonalGaussian
from avi.gap.context import Notes
from avi.gap.decomposition import Evidenced, Place, Values, decompose
from avi.gap.endings import Ending
from avi.gap.same_bound import reported_bound
from avi.gap.search import Found
from avi.gap.summary import Outcome, check, require_finite, summarise
from avi.inference.amortized import Amortized
from avi.inference.free_form import FreeForm
from avi.models.lda import LDA
from avi.networks.mlp import MLP
from avi.objectives.elbo import ClosedFormElbo
from avi.problem import Problem
from avi.refine.ascent import Ascent
from avi.results.gap import AuditRecord, Mean, Sandwich, SandwichStep, Sizes
from avi.run import measure as command
from avi.types import Estimate

FOUND = Found(np.zeros(6), 1e-3, 1e-4, True, float("nan"), Ending.CERTIFIED, 100)
AUDIT = AuditRecord(0.0, 0, 0, np.nan, False, (), None)
ANNEALED = AnnealedImportanceSampling(16, 10, 10, 2, 0.65, 1, "posterior_approximation")
ENCODER = Amortized(MLP((), "tanh", 0.2))
FREE = FreeForm(Ascent(optax.adam(0.03), steps=10, average=False))
WEIGHTED = ImportanceSampling(5000, 1.3, 0.5)


@pytest.fixture(scope="module")
def experiment():
    return make_case(DiagonalGaussian(LATENT)).experiment


def measured(experiment, evidence, **changed):
    """Return what `summarise` is given of a report that has come to its end."""
    context = SimpleNamespace(
        experiment=dataclasses.replace(experiment, evidence=evidence),
        settings=changed.pop("settings", SETTINGS),
        params=changed.pop("params", SimpleNamespace(phi={"weight": np.zeros(3)})),
        stands_for=SIZES.get,
        notes=Notes(complete=changed.pop("complete", True)),
        clock=SimpleNamespace(seconds=1.0),
        compiled=SimpleNamespace(certifies=True, knows_optimum=False, has_tails=True),
    )
    known = {"sandwich": None, "frontiers": {}, "same_bounds": {}, "audit": AUDIT, "doublings": 0}
    known |= {"precision_ok": True, "level": 0.95, "modes_ok": None, "closed_form_ok": None}
    return Outcome(context, **known | changed)


def point(
    row,
    split,
    *,
    gap=0.5,
    khat=0.1,
    evidence_khat=np.nan,
    ess=np.nan,
    num_weights=None,
    rests_on_q=True,
    found=FOUND,
    error=0.01,
    kind="lower",
    unseen=0.0,
):
    """Return a row whose bound is -10, whose evidence is 1 nat above the bound at lam*."""
    bound = -10.0 + 0.01 * row
    values = Values(np.full(10, bound), np.full(10, bound + gap) + 1e-3 * np.arange(10), unseen)
    estimate = Estimate(bound + gap + 1, error, ess, evidence_khat, np.nan)
    evidence = Evidenced(estimate, kind, num_weights, rests_on_q, khat, 400, 0.01)
    return decompose(Place(row, split), values, ("mode", found), evidence)


def rows_of(num_points=40, first=0, **changed):
    return [
        point(first + number, split, **changed)
        for number, split in enumerate(["train", "test"] * (num_points // 2))
    ]


SIZES = {"train": 60, "valid": 5, "test": 50}


@pytest.mark.parametrize(("heavy", "ok"), [(0, True), (2, True), (4, False), (40, False)])
def test_khat_judges_evidence_by_weights_from_q_and_no_other(experiment, heavy, ok):
    """Of 40 points at most two, 5 %, may be above min(1 - 1 / log10 400, 0.7) = 0.616."""
    rows = [*rows_of(heavy, khat=0.63), *rows_of(40 - heavy, first=heavy, khat=0.60)]
    for evidence, expected in ((WEIGHTED, ok), (Exact(), None), (ANNEALED, None)):
        summary = summarise(measured(experiment, evidence), rows[:40])
        assert summary.validity.khat_ok is expected
        # These weights are not the estimator's own: its value remains evidence.
        assert all(one.evidence.known for one in summary.splits.values())


def test_khat_that_is_not_defined_is_open(experiment):
    summary = summarise(measured(experiment, WEIGHTED), rows_of(khat=np.nan))
    assert summary.validity.khat_ok is None


@pytest.mark.parametrize(
    ("kind", "errors", "ok"),
    [
        ("exact", (0.0, 0.0), True),
        ("exact", (0.0, 0.011), False),  # one row in 40 is enough: exact is exact
        ("lower", (0.04, 0.04), True),  # of 20 rows a split: 0.04 / sqrt(20) is below 0.01
        ("lower", (0.05, 0.05), False),
    ],
)
def test_evidence_that_is_less_certain_than_the_tolerance_is_no_valid_evidence(
    experiment, kind, errors, ok
):
    most, one = errors
    rows = [*rows_of(38, kind=kind, error=most), *rows_of(2, first=38, kind=kind, error=one)]
    summary = summarise(measured(experiment, Exact()), rows)
    assert summary.validity.evidence_se_ok is ok


def test_searches_that_are_not_certified_are_counted_by_how_they_ended(experiment):
    saddle = rows_of(4, found=FOUND._replace(ending=Ending.SADDLE))
    spent = rows_of(2, first=4, found=FOUND._replace(ending=Ending.UNCERTIFIED))
    summary = summarise(measured(experiment, Exact()), [*saddle, *spent, *rows_of(34, first=6)])
    one = summary.splits["test"]
    assert {end.ending: end.n for end in one.endings} == {"saddle": 2, "unconverged": 1}
    assert one.converged == one.n - 3
    assert all(end.sentence for end in one.endings)


def test_importance_weights_with_a_heavy_tail_are_no_evidence(experiment):
    fine = summarise(measured(experiment, WEIGHTED), rows_of(evidence_khat=0.69))
    assert fine.validity.khat_ok is True
    assert not fine.splits["test"].importance_bound.known
    heavy = summarise(measured(experiment, WEIGHTED), rows_of(evidence_khat=0.71))
    assert heavy.validity.khat_ok is False
    one = heavy.splits["test"]
    assert not any(each.known for each in (one.evidence, one.approximation_gap, one.inference_gap))
    assert one.importance_bound.mean == fine.splits["test"].evidence.mean
    assert any("evidence=ais" in sentence for sentence in heavy.skipped)


@pytest.mark.parametrize(
    ("changed", "flags"),
    [
        ({"ess": 4.0, "num_weights": 16, "khat": 0.61}, ""),
        ({"ess": 3.9, "num_weights": 16}, "low-ess"),
        ({"khat": 0.62}, "khat"),  # the limit at S = 400 is 0.616
        ({"khat": 0.62, "rests_on_q": False}, ""),  # of exact and of annealed evidence
        ({"khat": np.nan}, ""),
        ({"evidence_khat": 0.71, "ess": 4000.0, "num_weights": 5000}, "khat"),
        ({"evidence_khat": 0.71, "ess": 20.0, "num_weights": 5000}, "khat low-ess"),
        ({"found": FOUND._replace(ending=Ending.UNCERTIFIED)}, "unconverged"),
        ({"found": FOUND._replace(ending=Ending.SADDLE)}, "unconverged saddle"),
        ({"gap": np.nan}, "not-finite"),
        ({"kind": "exact", "error": 0.011}, "evidence-se"),
        ({"kind": "lower", "error": 0.011}, ""),  # noise that averages out
    ],
)
def test_a_point_is_flagged_for_what_is_wrong_with_it(changed, flags):
    assert point(7, "test", **changed).flags == flags


def test_a_bound_that_is_no_evidence_does_not_stand_under_its_name():
    before = point(7, "test", evidence_khat=0.9, ess=20.0, num_weights=5000)
    after = before.withheld()
    assert after.importance_bound == before.evidence
    assert after.evidence_kind == "none"
    for name in ("evidence", "evidence_se", "approximation_gap", "inference_gap"):
        assert np.isnan(getattr(after, name))
    kept = ("bound", "bound_star", "amortization_gap", "certificate", "flags", "khat")
    assert all(getattr(after, name) == getattr(before, name) for name in kept)


@pytest.mark.parametrize(
    ("evidence", "simulated", "sandwich", "holds"),
    [
        (ANNEALED, 100, True, True),
        (ANNEALED, 100, False, False),
        (ANNEALED, 100, None, False),  # asked for, and there was no time
        (ANNEALED, 0, None, True),  # not asked for
        (WEIGHTED, 100, None, True),  # there is none for this estimator
        (Exact(), 100, None, True),
    ],
)
def test_a_sandwich_that_was_asked_for_must_be_there(
    experiment, evidence, simulated, sandwich, holds
):
    settings = dataclasses.replace(SETTINGS, simulated=simulated)
    rows = rows_of(80)
    last = SandwichStep(100, 0.1, 0.01, None, 1.0, 0.0)
    made = (
        None
        if sandwich is None
        else Sandwich(
            **vars(last), n=100, transfers=sandwich, inside=1.0, ok=sandwich, history=(last,)
        )
    )
    found = measured(experiment, evidence, settings=settings, sandwich=made)
    summary = summarise(found, rows)
    check(summary, strict=False)
    with nullcontext() if holds else pytest.raises(ValidityError, match="sandwich_ok"):
        check(summary, strict=True)


def test_a_report_that_was_cut_short_says_so(experiment):
    summary = summarise(measured(experiment, Exact(), complete=False), rows_of(80))
    check(summary, strict=False)
    with pytest.raises(ValidityError, match="complete"):
        check(summary, strict=True)


def test_nothing_is_averaged_over_the_finite_part(experiment):
    rows = [*rows_of(), point(40, "test", gap=np.nan), point(42, "test", gap=np.inf)]
    summary = summarise(measured(experiment, Exact()), rows)
    assert summary.not_finite == (40, 42)
    assert summary.splits["test"].not_finite == 2
    means = [each for each in vars(summary.splits["test"]).values() if isinstance(each, Mean)]
    assert len(means) == 8
    assert not any(mean.known for mean in means)
    assert summary.splits["train"].amortization_gap.mean == pytest.approx(0.5045)
    assert all(np.isfinite(one.gap) for one in summary.worst)
    with pytest.raises(NonFiniteError, match="rows 40, 42.*over the test rows"):
        require_finite(summary)


def test_a_report_of_which_nothing_is_finite_is_one_still(experiment):
    rows = rows_of(gap=np.nan)
    summary = summarise(measured(experiment, Exact()), rows)
    assert not summary.splits["train"].bound.known
    assert any("40 rows" in line for line in command.lines(summary))


@pytest.mark.parametrize(
    ("inference", "phi", "name"),
    [
        (ENCODER, {"weight": np.zeros(3)}, "amortization gap"),
        (FREE, np.zeros((60, 6)), "optimisation gap"),  # a row per datapoint
        (FREE.unseen(), {}, "optimisation gap"),  # nothing is kept
    ],
)
def test_only_the_gap_of_an_encoder_is_one_of_amortization(experiment, inference, phi, name):
    problem = dataclasses.replace(experiment.problem, inference=inference)
    other = dataclasses.replace(experiment, problem=problem)
    found = measured(other, Exact(), params=SimpleNamespace(phi=phi))
    assert summarise(found, rows_of()).gap_name == name


def test_a_report_of_topics_is_in_the_bound_that_they_were_trained_in():
    model = LDA(3, alpha=0.1, eta=0.01, seeds=0, topics="posterior")
    problem = Problem(model, Dirichlet(3), ENCODER, ClosedFormElbo())
    assert reported_bound(problem) == problem.bound_name == "ELBO under q(topics)"


def test_the_generalisation_gap_is_that_of_test_over_training_rows(experiment):
    train = [point(row, "train", gap=0.2 + 0.01 * row) for row in range(40)]
    test = [point(row, "test", gap=0.5 + 0.02 * (row - 65)) for row in range(65, 95)]
    summary = summarise(measured(experiment, Exact()), [*train, *test])
    lost = summary.generalisation_gap
    # Means of 0.2 ... 0.59 and of 0.5 ... 1.08, each 0.0045 higher by the rows' own draws.
    assert lost.mean == pytest.approx(0.79 - 0.395)
    spreads = 0.01 * np.arange(40).std(ddof=1), 0.02 * np.arange(30).std(ddof=1)
    assert lost.se == pytest.approx(np.hypot(spreads[0] / 40**0.5, spreads[1] / 30**0.5))
    assert lost.n == Sizes(train=40, test=30)
    assert any("0.395 ± 0.037 nats" in line for line in command.lines(summary))


def test_without_both_splits_or_an_encoder_there_is_no_generalisation_gap(experiment):
    alone = dataclasses.replace(SETTINGS, splits=("test",))
    found = measured(experiment, Exact(), settings=alone)
    rows = [row for row in rows_of() if row.split == "test"]
    assert summarise(found, rows).generalisation_gap is None
    broken = [*rows_of(), point(40, "test", gap=np.nan)]
    found = measured(experiment, Exact())
    assert summarise(found, broken).generalisation_gap is None
    none = measured(experiment, Exact(), params=SimpleNamespace(phi={}))
    assert summarise(none, rows_of()).generalisation_gap is None


@pytest.mark.parametrize(
    ("unseen", "ok"), [(0.0, True), (0.009, True), (0.5, False), (np.nan, False)]
)
def test_a_bound_at_the_modes_own_lam_that_rests_on_unseen_draws_is_not_green(unseen, ok):
    rows = rows_of(unseen=unseen)
    assert {row.flags for row in rows} == ({""} if ok else {"tails"})
    outcome = measured(make_case(DiagonalGaussian(LATENT)).experiment, Exact())
    assert summarise(outcome, rows).validity.tails_ok is ok
