"""What a report keeps of the rows that lose most: themselves, their reconstructions and labels."""

import numpy as np

from avi.config.compose import compose
from avi.gap.context import Clock, Context
from avi.gap.folder import _observations, ledger
from avi.results.gap import Worst
from avi.results.points import Observations
from avi.run.session import open_session

WORDS = "model.latent_size=2 model.decoder.widths=[4] inference.network.widths=[4]".split()


def context_of(*words):
    session = open_session(compose([*WORDS, *words])[0].tree)
    experiment, params = session.experiment, session.initial_state().params
    settings = experiment.gap
    kept = ledger(None, experiment, params, settings, None)
    return session, Context(
        experiment, params, session.splits, settings, kept, lambda *_: None, Clock(None)
    )


def test_the_worst_rows_are_kept_with_what_the_model_makes_of_them():
    session, context = context_of()
    rows = session.splits.origin.rows_of(np.array([4, 1500, 1700]))
    worst = [
        Worst(row, split, 1.0) for row, split in zip(rows, ("train", "valid", "test"), strict=True)
    ]
    found = _observations(context, worst)
    np.testing.assert_array_equal(found.input_rows, rows)
    whole = np.concatenate([session.splits.labels[split] for split in ("train", "valid", "test")])
    assert found.named_labels == tuple(map(str, whole[[4, 1500, 1700]]))
    # By hand: an affine mean of z behind one layer of tanh.
    params = context.params
    hidden, out = params.phi["layer0"], params.phi["layer1"]
    h = np.tanh(found.inputs @ hidden["kernel"] + hidden["bias"])
    mean = (h @ out["kernel"] + out["bias"])[:, :2]
    hidden, out = params.theta["decoder"]["layer0"], params.theta["decoder"]["layer1"]
    logits = np.tanh(mean @ hidden["kernel"] + hidden["bias"]) @ out["kernel"] + out["bias"]
    np.testing.assert_allclose(found.reconstructions, 1 / (1 + np.exp(-logits)), rtol=1e-5)


def test_rows_that_are_no_images_are_kept_alone():
    _, context = context_of("dataset=linear_gaussian")
    found = _observations(context, [Worst(0, "train", 1.0)])
    assert found.inputs.shape == (1, 10)
    assert found.reconstructions is found.labels is None
    assert _observations(context, []) == Observations()
