"""Convolutions: an adjoint pair, the image's shape, and what a decoder puts where."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from avi.errors import ConfigError
from avi.networks.conv import Conv, TransposedConv, doubled, halved

KEY = jax.random.key(0)


@pytest.mark.parametrize("shape", [(4, 4, 1), (5, 4, 2), (7, 3, 1), (1, 1, 3)])
def test_doubling_is_the_transpose_of_halving(shape):
    # <halved(x), y> = <x, doubled(y)> for all x and y; both are linear.
    kernel, x = jax.random.normal(KEY, (3, 3, shape[2], 2)), jax.random.normal(KEY, shape)
    small = halved(x, kernel)
    assert small.shape == (-(-shape[0] // 2), -(-shape[1] // 2), 2)
    y = jax.random.normal(jax.random.key(1), small.shape)
    np.testing.assert_allclose(
        jnp.sum(small * y), jnp.sum(x * doubled(y, kernel, shape)), rtol=1e-4, atol=1e-4
    )


def test_an_encoder_reads_flat_and_shaped_images_alike_and_starts_at_its_output_bias():
    network = Conv((2, 3), (6, 4), "tanh", 0.0)
    params = network.init(KEY, jnp.zeros(24), jnp.array([1.0, -2.0]))
    x = jax.random.normal(KEY, (6, 4))
    np.testing.assert_array_equal(network.apply(params, x, 2), [1.0, -2.0])
    params["out"]["kernel"] = jax.random.normal(KEY, params["out"]["kernel"].shape)
    np.testing.assert_array_equal(network.apply(params, x, 2), network.apply(params, x.ravel(), 2))


def test_a_shift_by_two_pixels_shifts_what_a_layer_sees_by_one():
    kernel, x = jax.random.normal(KEY, (3, 3, 1, 2)), jnp.zeros((12, 12, 1)).at[4, 4, 0].set(1.0)
    np.testing.assert_array_equal(
        halved(jnp.roll(x, 2, axis=0), kernel)[1:], halved(x, kernel)[:-1]
    )


@pytest.mark.parametrize(("shape", "each"), [(None, 1), (None, 2), ((4, 4), 4), ((2, 4, 2), 3)])
def test_a_decoder_starts_at_its_output_bias_with_k_numbers_for_each_pixel(shape, each):
    number = 16 * each
    network = TransposedConv((2, 3), shape, "relu", 0.0)
    bias = jnp.arange(float(number))
    params = network.init(KEY, jnp.zeros(2), bias)
    np.testing.assert_array_equal(network.apply(params, jnp.ones(2), number), bias)


def test_the_k_numbers_of_a_pixel_come_one_image_after_the_other():
    # A likelihood reads [k, *x.shape]: the second half of the outputs is of the second number.
    network = TransposedConv((1,), (4, 4), "relu", 1.0)
    params = network.init(KEY, jnp.zeros(1), jnp.zeros(32))
    kernel = params["layer0"]["kernel"]
    params["layer0"]["kernel"] = kernel.at[:, :, 1].set(0)
    outputs = network.apply(params, jnp.ones(1), 32)
    np.testing.assert_array_equal(outputs[16:], 0)
    assert float(jnp.abs(outputs[:16]).max()) > 0


def test_what_is_no_image_is_refused_with_what_to_type():
    gaps = {"mask": jnp.ones(9), "value": jnp.zeros(9)}
    with pytest.raises(ConfigError, match=r"may be missing. Try inference.network=mlp"):
        Conv((2,), None, "tanh", 1.0).init(KEY, gaps, jnp.zeros(2))
    with pytest.raises(
        ConfigError, match=r"10 numbers are no image .* Try inference.network.image_shape="
    ):
        Conv((2,), None, "tanh", 1.0).init(KEY, jnp.zeros(10), jnp.zeros(2))
    for wrong in ({"channels": ()}, {"image_shape": (3,)}):
        with pytest.raises(ValueError, match="must be|is \\["):
            Conv(
                **{"channels": (2,), "image_shape": None, **wrong},
                activation="tanh",
                output_scale=1.0,
            )
