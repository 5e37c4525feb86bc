"""The encoder of documents sees a bag: order of terms and padding do not change its output."""

import jax
import jax.numpy as jnp
import numpy as np

from avi.networks.bag import BagOfWords
from avi.ragged import Document

NETWORK = BagOfWords(width=8, widths=(5,), activation="tanh", output_scale=1.0)
X = Document(jnp.array([3, 7, 1, 0]), jnp.array([2.0, 1.0, 4.0, 0.0]), 9)


def outputs(x):
    params = NETWORK.init(jax.random.key(0), X, jnp.zeros(3))
    return NETWORK.apply(params, x, 3)


def test_order_and_padding_do_not_change_the_output():
    shuffled = Document(jnp.array([0, 1, 3, 5, 7]), jnp.array([0.0, 4.0, 2.0, 0.0, 1.0]), 9)
    np.testing.assert_allclose(outputs(shuffled), outputs(X), rtol=1e-5)


def test_another_term_or_length_changes_the_output():
    other = Document(X.ids.at[0].set(4), X.counts, 9)
    longer = Document(X.ids, 3 * X.counts, 9)
    for x in (other, longer):
        assert abs(outputs(x) - outputs(X)).max() > 1e-3


def test_the_output_starts_at_its_bias():
    bias = jnp.array([1.0, -2.0, 0.5])
    still = BagOfWords(width=8, widths=(5,), activation="tanh", output_scale=0.0)
    params = still.init(jax.random.key(0), X, bias)
    np.testing.assert_allclose(still.apply(params, X, 3), bias, rtol=1e-6)
