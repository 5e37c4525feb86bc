"""The report of a finite latent, whose posterior is known, under an encoder that has saturated."""

import csv

import jax
import numpy as np

from avi import gap
from avi.config.compose import compose
from avi.run.session import open_session

WORDS = (
    "model=mixture model.latent_size=2 dataset=linear_gaussian inference=amortized evidence=exact "
    "gap.splits=[test] gap.num_points=40 gap.seconds=null gap.audit=0 gap.frontier=0"
).split()


def test_a_saturated_encoder_is_charged_with_all_that_it_loses(tmp_path):
    """At logits of some thousands the softmax underflows and the gradient is exactly zero.

    The family holds every posterior: the approximation gap is 0, the rest is the encoder's.
    """
    session = open_session(compose(WORDS)[0].tree)
    params = session.initial_state().params
    loud = params._replace(phi=jax.tree.map(lambda leaf: 3000 * leaf, params.phi))
    summary = gap.report(
        session.experiment, loud, session.splits, settings=session.experiment.gap, run=tmp_path
    )
    with open(tmp_path / "gap" / "points.csv", encoding="utf-8") as file:
        points = list(csv.DictReader(file))
    column = {name: np.array([float(one[name]) for one in points]) for name in NAMES}
    assert {one["converged"] for one in points} == {"true"}
    assert summary.validity.q_star_converged is True
    assert summary.validity.identity_ok is True
    # float32 sums of log densities of some tens of nats.
    np.testing.assert_allclose(column["approximation_gap"], 0, atol=1e-4)
    lost = column["evidence"] - column["bound"]
    np.testing.assert_allclose(column["amortization_gap"], lost, atol=1e-4)
    assert lost.max() > 1  # some rows are sure of the wrong component


NAMES = ("approximation_gap", "amortization_gap", "evidence", "bound")
