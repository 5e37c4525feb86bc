"""What the audit makes of its searches, and which certificates it may believe."""

import csv
import dataclasses
from types import SimpleNamespace

import jax
import numpy as np
import pytest
from gap.gaussian_case import LATENT, SETTINGS, make_case

from avi import gap
from avi.evidence.none import NoEvidence
from avi.families.gaussian import DiagonalGaussian
from avi.gap.audit import Audit
from avi.gap.context import Context
from avi.gap.endings import Ending
from avi.gap.flags import starts_ok
from avi.gap.search import Flat, Found, Job, Searcher, is_done, surer
from avi.gap.selection import Selection, certain
from avi.objectives.elbo import Elbo
from avi.population import Points
from avi.results.gap import AuditRecord

Z = 4.75  # two-sided false alarm 2e-6 for a normal statistic
AUDITED = dataclasses.replace(SETTINGS, num_points=16, splits=("test",), audit=1.0)


@pytest.fixture(scope="module")
def case():
    return make_case(DiagonalGaussian(LATENT), evidence=NoEvidence())


def test_all_starts_of_a_bound_with_one_top_end_there(case, tmp_path):
    """The ELBO of a linear model has one top: no start leads elsewhere, a second search nowhere."""
    audit = gap.report(*case, settings=AUDITED, run=tmp_path).audit
    assert [one.start for one in audit.starts] == ["family", "laplace", "random"]
    assert all((one.n, one.differ) == (16, 0.0) for one in audit.starts)
    doubling = audit.doubling
    assert doubling.n == 16
    assert doubling.ok is True
    # A certified point lacks less than the tolerance, and so can neither gain nor lose more.
    assert abs(doubling.mean) < SETTINGS.tolerance + Z * doubling.se


def cut_off_by_the_clock(monkeypatch, start, points):
    """Let the search of these points from one start end where it began, with no time to go on."""
    real = Context.search

    def search(self, points_, jobs, share, what):
        cut = [job for job in jobs if job.start == start and job.point in points]
        begun = {id(job): job.lam for job in cut}
        real(self, points_, jobs, share, what)
        for job in cut:
            job.found = job.found._replace(
                lam=begun[id(job)],
                certificate=9.0,
                ending=Ending.UNCERTIFIED,
                gradient_evaluations=1,
            )

    monkeypatch.setattr(Context, "search", search)


@pytest.mark.parametrize("start", [0, 2])  # the mode's own, and that of Laplace
def test_points_with_a_search_that_was_cut_off_do_not_count(start, case, tmp_path, monkeypatch):
    """Their other searches end at the top all the same, and one of them is lam*."""
    whole = gap.report(*case, settings=AUDITED, run=None).splits["test"].amortization_gap
    cut_off_by_the_clock(monkeypatch, start, range(6))
    summary = gap.report(*case, settings=AUDITED, run=tmp_path)
    audit = summary.audit
    assert audit.points == 10
    assert {one.n for one in audit.starts} == {10}
    assert audit.improved == 0  # the others' gains are those of the bound, not of the clock
    assert [words for words in summary.skipped if words.startswith("other starts")] == [
        "other starts of 6 of 16 rows do not count: there was no time to search to the end."
    ]
    with open(tmp_path / "gap" / "points.csv", encoding="utf-8") as file:
        points = list(csv.DictReader(file))
    assert {one["converged"] for one in points} == {"true"}
    found = summary.splits["test"].amortization_gap
    # Two searches of one top, both certified to lack less than the tolerance, on the same draws.
    assert found.mean == pytest.approx(whole.mean, abs=SETTINGS.tolerance)


@dataclasses.dataclass(frozen=True)
class Opaque:
    """Gaussians that can be drawn from and evaluated, and no more."""

    gaussian: DiagonalGaussian = DiagonalGaussian(LATENT)

    def __post_init__(self):
        for (
            name
        ) in "latent num_params init sample log_prob entropy mean standard_deviation".split():
            object.__setattr__(self, name, getattr(self.gaussian, name))


def test_what_only_score_functions_can_differentiate_is_never_certified(tmp_path):
    case = make_case(Opaque(), evidence=NoEvidence(), objective=Elbo(2, antithetic=False))
    settings = dataclasses.replace(AUDITED, num_points=4, budget=2000, search_draws=2, audit=0.0)
    summary = gap.report(*case, settings=settings, run=tmp_path)
    assert summary.validity.q_star_converged is False
    assert [words for words in summary.skipped if words.startswith("certificates")]
    with open(tmp_path / "gap" / "points.csv", encoding="utf-8") as file:
        points = list(csv.DictReader(file))
    assert {one["converged"] for one in points} == {"false"}
    assert min(int(one["gradient_evaluations"]) for one in points) >= settings.budget


def audit_of(share):
    settings = dataclasses.replace(SETTINGS, audit=share)
    experiment = SimpleNamespace(seed=0)
    return Audit(SimpleNamespace(settings=settings, experiment=experiment))


@pytest.mark.parametrize(("rows", "share", "audited"), [(48, 0.1, 30), (8, 0.1, 8), (48, 0.0, 0)])
def test_an_audit_looks_at_enough_rows_to_say_something(rows, share, audited):
    points, of_split = Points(None, np.arange(rows)), ["train"] * rows
    audit = audit_of(share)
    chosen = audit._chosen("starts", points, of_split, dict.fromkeys(range(rows)))
    assert len(chosen) == audited
    # Its rows are those of a larger share, too: they do not depend on how many are asked for.
    larger = audit_of(1.0)._chosen("starts", points, of_split, dict.fromkeys(range(rows)))
    assert set(chosen) <= set(larger)


def test_rows_that_are_added_are_audited_as_far_as_their_split_lacks_them():
    """500 rows by a share of a tenth need no more than that share once 30 have been looked at."""
    audit, of_split = audit_of(0.1), ["train"] * 250 + ["test"] * 250
    chosen = []
    for first in (0, 500):
        points = Points(None, first + np.arange(500))
        chosen.append(audit._chosen("starts", points, of_split, dict.fromkeys(range(500))))
    assert audit.counts["starts", "train"] + audit.counts["starts", "test"] == sum(map(len, chosen))
    assert min(audit.counts["starts", split] for split in ("train", "test")) >= 30
    draws = 50  # a binomial of 500 rows at a tenth, within 4.75 of its deviations of 6.7
    assert abs(len(chosen[1]) - draws) < 32


@pytest.mark.parametrize(
    ("gains", "ok"),
    [
        ([0.001, 0.002, 0.0015], True),
        ([0.5, -0.1, 0.8], False),  # 0.4 +- 0.3: within two standard errors of nothing
        ([0.02, 0.021, 0.019], False),
    ],
)
def test_a_second_search_is_no_proof_if_its_own_noise_hides_a_gain(gains, ok):
    audit = audit_of(1.0)
    audit.doubled = {row: (gain, 0.0) for row, gain in enumerate(gains)}
    assert audit._doubling().ok is ok


def found(certificate, *, positive=True, error=0.0, ending=Ending.UNCERTIFIED, spent=0):
    return Found(np.zeros(1), certificate, error, positive, np.nan, ending, spent)


@pytest.mark.parametrize(
    ("new", "old", "is_surer"),
    [
        (found(0.1), found(0.2), True),
        (found(0.2), found(0.1), False),
        (found(0.1, error=0.1), found(0.2), False),  # 0.3 with its doubt
        (found(0.2), found(-5.35, error=2.14), True),  # below zero by noise, 4 nats in doubt
        (found(np.nan), found(0.2), False),
        (found(np.nan), found(np.nan), False),
        (found(0.2), found(np.nan), True),
        (found(9.0), found(0.0, positive=False), True),  # a 0 that says nothing
        (found(9.0, positive=False), found(0.0, positive=False), True),  # a longer climb
        (found(0.0, positive=False), found(9.0), False),
        (found(0.009, ending=Ending.CERTIFIED), found(-1.0), True),  # of one draw of many
        (found(-1.0, ending=Ending.NEGATIVE), found(0.009, ending=Ending.CERTIFIED), False),
    ],
)
def test_a_certificate_is_surer_only_if_it_can_be_trusted(new, old, is_surer):
    assert surer(new, old) is is_surer
    if not np.isnan([new.certificate, old.certificate]).any() and not old.converged:
        assert surer(new, old, certifies=False) is True


def certificate(value, error=0.0, *, positive=True, saddle=False, **ends):
    return SimpleNamespace(
        value=value,
        standard_error=error,
        positive=positive,
        saddle=saddle,
        saturated=ends.get("saturated", False),
        boundary=ends.get("boundary", False),
        hidden=ends.get("hidden", 0.0),
        rare=ends.get("rare", 0.0),
    )


@pytest.mark.parametrize(
    ("one", "ending"),
    [
        (certificate(0.001, 0.001), Ending.CERTIFIED),
        (certificate(0.0), Ending.CERTIFIED),
        (certificate(0.009, 0.001), Ending.UNCERTIFIED),  # 0.011 with its doubt
        (certificate(-5.35, 2.14), Ending.UNCERTIFIED),  # an error bar that covers everything
        (certificate(-0.02, 0.001), Ending.NEGATIVE),
        (certificate(-0.001), Ending.NEGATIVE),  # below zero without any noise
        (certificate(0.001, 0.001, positive=False), Ending.UNCERTIFIED),
        (certificate(0.0, positive=False, saddle=True), Ending.SADDLE),
        (certificate(0.0, saturated=True), Ending.SATURATED),
        (certificate(0.001, 0.001, boundary=True), Ending.BOUNDARY),
        (certificate(0.001, 0.001, hidden=0.009), Ending.CERTIFIED),
        (certificate(0.001, 0.001, hidden=0.011), Ending.JUMPS),
        (certificate(0.001, 0.001, hidden=np.nan), Ending.JUMPS),
        (certificate(0.001, 0.001, rare=0.009), Ending.CERTIFIED),
        (certificate(0.001, 0.001, rare=0.011), Ending.TAILS),
        (certificate(0.001, 0.001, rare=np.nan), Ending.TAILS),
        (certificate(np.nan, np.nan), Ending.UNCERTIFIED),
    ],
)
def test_only_a_certificate_that_can_be_believed_ends_a_search_as_certified(one, ending):
    assert SETTINGS.tolerance == 0.01
    searcher = Searcher(SimpleNamespace(certifies=True), None, SETTINGS)
    assert searcher._ending(one) is ending


def test_a_search_is_done_when_it_is_certified_or_has_spent_its_budget():
    assert not is_done(None, SETTINGS.budget)
    assert not is_done(found(1.0, spent=SETTINGS.budget - 1), SETTINGS.budget)
    assert is_done(found(1.0, spent=SETTINGS.budget), SETTINGS.budget)
    assert is_done(found(0.0, ending=Ending.CERTIFIED), SETTINGS.budget)
    # Where the gradient is exactly zero, or does not see the density, no step leads anywhere.
    assert is_done(found(0.0, ending=Ending.JUMPS), SETTINGS.budget)
    assert is_done(found(0.0, ending=Ending.SATURATED), SETTINGS.budget)
    assert not is_done(found(0.0, ending=Ending.SADDLE), SETTINGS.budget)


def test_a_second_opinion_finds_the_better_of_two_hills(monkeypatch):
    """The search from the mode's own lam is held on the lower one."""
    case = make_case(DiagonalGaussian(LATENT), evidence=NoEvidence())
    settings = dataclasses.replace(AUDITED, num_points=6)
    real = Context.search

    def search(self, points, jobs, share, what):
        real(self, points, jobs, share, what)
        for job in jobs:
            if job.start == 0:  # where it ended is moved away, and counts as certified there
                job.found = job.found._replace(lam=job.found.lam + 1.0)

    monkeypatch.setattr(Context, "search", search)
    monkeypatch.setattr(Audit, "other_starts", lambda self, points, of_split, found: found)
    summary = gap.report(*case, settings=settings, run=None)
    assert (summary.audit.second_opinions, summary.audit.second_gains) == (6, 6)
    assert summary.audit.winners == {"second": 6}


def test_a_search_that_led_down_from_its_start_certifies_nothing(monkeypatch):
    """Laplace's start is the best member here; all searches end away from it, and believe in it."""
    case = make_case(DiagonalGaussian(LATENT), evidence=NoEvidence())
    settings = dataclasses.replace(AUDITED, num_points=6, audit=1.0)
    real = Context.search

    def search(self, points, jobs, share, what):
        real(self, points, jobs, share, what)
        for job in jobs:
            job.found = job.found._replace(lam=job.found.lam + 1.0)

    monkeypatch.setattr(Context, "search", search)
    monkeypatch.setattr(Audit, "second_opinions", lambda self, points, found: found)
    summary = gap.report(*case, settings=settings, run=None)
    assert summary.audit.winners == {"laplace": 6}
    assert summary.validity.q_star_converged is False
    (ended,) = {one.ending for split in summary.splits.values() for one in split.endings}
    assert ended == Ending.JUMPS


def test_starts_that_led_higher_are_no_green_report():
    audit = AuditRecord(0.1, 30, 1, 0.2, False, (), None)
    assert starts_ok(audit) is False
    assert starts_ok(dataclasses.replace(audit, all_points=True)) is True
    assert starts_ok(dataclasses.replace(audit, improved=0)) is True
    assert starts_ok(dataclasses.replace(audit, points=0)) is None


def searching(gained):
    """Return a searcher whose job has taken twice the steps since its flat lam, for this gain."""
    compiled = SimpleNamespace(
        experiment=SimpleNamespace(seed=0),
        values=lambda key, rows, ids, lams: np.where(lams > 0, gained, np.zeros_like(gained)),
    )
    points = Points(np.zeros(1), np.zeros(1, int))
    job = Job(0, 0, np.ones(1), first=400, flat=Flat(np.zeros(1), 200))
    job.found = found(0.002, ending=Ending.UNCERTIFIED)
    Searcher(compiled, points, SETTINGS)._compare([job])
    return job


@pytest.mark.parametrize(
    ("gain", "noise", "ending"),
    [
        (0.0, 1e-3, Ending.DOUBLED),
        (-0.05, 1e-3, Ending.DOUBLED),
        (0.5, 1e-3, Ending.UNCERTIFIED),
        (0.0, 0.5, Ending.UNCERTIFIED),  # a gain that noise hides is not none
        (np.nan, 1e-3, Ending.UNCERTIFIED),
    ],
)
def test_twice_the_search_ends_it_only_where_it_gains_nothing_beyond_noise(gain, noise, ending):
    pairs = np.random.default_rng(0).standard_normal(100)
    job = searching((gain + noise * (pairs - pairs.mean()))[None])
    assert job.found.ending is ending
    assert job.found.converged is (ending is Ending.DOUBLED)
    # Where it gained, the comparison begins anew from here.
    assert job.flat.steps == (200 if ending is Ending.DOUBLED else 400)


def test_more_draws_decide_between_candidates_that_the_first_cannot_tell_apart():
    """A lead of 0.3 is one error of 50 pairs, and four of 17 times as many: 2 of 200 stay open."""
    calls = []

    def values(key, rows, ids, lams):
        calls.append(len(ids))
        noise = np.random.default_rng(np.asarray(jax.random.key_data(key))).normal(
            size=(len(ids), 50)
        )
        return lams * (noise + 0.15)

    compiled = SimpleNamespace(values=values, experiment=SimpleNamespace(seed=0))
    points = Points(np.zeros(200), np.arange(200))
    selection = Selection(compiled, points, dataclasses.replace(SETTINGS, tolerance=0.05))
    near = np.ones((200, 1))
    leads = selection.lead(range(200), near, -near)
    assert sum(certain(lead) > 0 for lead in leads) >= 190  # less once in 1e5
    assert calls[:2] == [200, 200]
    assert set(calls[2:]) == {calls[2]}
    assert len(calls) == 2 + 2 * 16
    assert calls[2] < 200  # of those that were clear no more was asked
    calls.clear()
    selection.lead(range(200), 1e-3 * near, -1e-3 * near)
    assert calls == [200, 200]  # whichever is taken, less than the tolerance is lost
