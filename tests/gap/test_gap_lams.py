"""lam* is kept: a later report on the same parameters begins where the last one ended."""

import dataclasses

import numpy as np
import pytest
from gap.gaussian_case import SETTINGS, make_case

from avi import gap
from avi.families.gaussian import DiagonalGaussian
from avi.gap.ledger import theta_sha256
from avi.results import lams, points
from avi.results.store import Files

FEW = dataclasses.replace(SETTINGS, num_points=20, splits=("test",), num_draws=200, audit=0.0)


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """Return the case, and the folder of a report on it."""
    case, folder = make_case(DiagonalGaussian(3)), tmp_path_factory.mktemp("lams")
    gap.report(case.experiment, case.params, case.splits, settings=FEW, run=folder, identity="a")
    return case, folder


def test_what_was_found_is_kept_with_its_certificate(measured):
    case, folder = measured
    found, rows = lams.read(Files(folder)), points.read(Files(folder))
    assert found.row.tolist() == [row.row for row in rows]
    assert found.lam.shape == (20, 6)
    np.testing.assert_array_equal(found.certificate, [row.certificate for row in rows])
    assert found.converged.tolist() == [row.converged for row in rows]
    theta = theta_sha256(case.params)
    assert len(found.of(theta, 6)) == 20
    # For other parameters, or another family, it says nothing.
    assert found.of(b"0" * 32, 6) == {}
    assert found.of(theta, 4) == {}


def test_a_later_report_begins_there_and_finds_the_same(measured):
    case, folder = measured
    before = points.read(Files(folder))
    other = dataclasses.replace(FEW, num_draws=300)
    gap.report(case.experiment, case.params, case.splits, settings=other, run=folder, identity="a")
    after = points.read(Files(folder))
    spent = [sum(row.gradient_evaluations for row in rows) for rows in (before, after)]
    assert spent[1] < 0.7 * spent[0]
    assert all(row.converged for row in after)
    for old, new in zip(before, after, strict=True):
        noise = np.hypot(old.bound_star_se, new.bound_star_se)
        # Six errors of 20 rows: by chance once in ten million.
        assert abs(old.bound_star - new.bound_star) < 6 * noise + FEW.tolerance
