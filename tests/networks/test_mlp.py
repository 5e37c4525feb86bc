"""Networks: shapes, start and precision of the multilayer perceptron."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from avi.networks.mlp import MLP


def test_an_mlp_without_widths_is_affine():
    network = MLP((), "tanh", 1.0)
    bias = jnp.array([1.0, -2.0])
    params = network.init(jax.random.key(0), jnp.zeros(3), bias)
    x = jnp.array([0.3, -0.7, 2.0])
    expected = x @ params["layer0"]["kernel"] + bias
    np.testing.assert_allclose(network.apply(params, x, 2), expected, rtol=1e-6)


def test_an_mlp_starts_near_its_output_bias_if_its_output_scale_is_small():
    network = MLP((16,), "tanh", 1e-3)
    params = network.init(jax.random.key(0), jnp.zeros(3), jnp.array([1.0, -2.0]))
    np.testing.assert_allclose(network.apply(params, jnp.ones(3), 2), [1.0, -2.0], atol=1e-2)


def test_hidden_layers_apply_the_activation_between_them_only():
    network = MLP((2,), "relu", 1.0)
    params = {
        "layer0": {"kernel": jnp.eye(2), "bias": jnp.zeros(2)},
        "layer1": {"kernel": -jnp.eye(2), "bias": jnp.zeros(2)},
    }
    np.testing.assert_array_equal(network.apply(params, jnp.array([3.0, -5.0]), 2), [-3.0, 0.0])


def test_an_mlp_reads_every_part_of_x():
    network = MLP((), "tanh", 1.0)
    x = {"mask": jnp.array([True, False]), "value": jnp.array([0.5, 0.0])}
    params = network.init(jax.random.key(0), x, jnp.zeros(1))
    kernel = params["layer0"]["kernel"]
    assert kernel.shape == (4, 1)
    np.testing.assert_allclose(network.apply(params, x, 1), kernel[0] + 0.5 * kernel[2], rtol=1e-6)


@pytest.mark.parametrize("double", [False, True])
def test_every_weight_has_the_precision_of_the_run(double):
    with jax.enable_x64(double):
        network = MLP((4,), "tanh", 1.0)
        params = network.init(jax.random.key(0), jnp.zeros(3), jnp.zeros(2))
        wanted = {jnp.float64 if double else jnp.float32}
        assert {leaf.dtype.type for leaf in jax.tree.leaves(params)} == wanted
        assert network.apply(params, jnp.zeros(3), 2).dtype.type in wanted


def test_an_mlp_refuses_an_empty_layer():
    with pytest.raises(ValueError, match="widths must all be 1 or more"):
        MLP((8, 0), "tanh", 1.0)
