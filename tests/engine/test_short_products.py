"""Products of a few rows are cut into parts, wherever they stand, and remain what they were."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from avi.engine import short_products as products

WIDE, NARROW = 700, 200


@pytest.fixture(autouse=True)
def two_cores(monkeypatch):
    monkeypatch.setattr(products, "cores", lambda: [0, 1])


def weights(rows=WIDE, columns=NARROW):
    return jax.random.normal(jax.random.key(0), (rows, columns))


def observed(num_rows, size=WIDE):
    return jax.random.normal(jax.random.key(1), (num_rows, size))


def heights(function, *args):
    """Return how many rows each product of the program has."""
    text = jax.jit(function).lower(*args).as_text()
    results = [line.rpartition("tensor<")[2] for line in text.splitlines() if "dot_general" in line]
    return sorted(int(result.split("x")[0]) for result in results)


@pytest.mark.parametrize(
    ("num_rows", "expected"), [(48, [48]), (49, [16, 16, 17]), (64, [21, 21, 22]), (65, [65])]
)
def test_a_product_of_a_few_rows_is_cut_in_three(num_rows, expected):
    shared = products.share_products(jnp.dot)
    assert heights(shared, observed(num_rows), weights()) == expected


def test_small_products_and_those_of_rows_with_rows_stay_whole():
    shared = products.share_products(jnp.dot)
    assert heights(shared, observed(50, 200), weights(200, 200)) == [50]
    assert heights(shared, observed(50).T, observed(50)) == [WIDE]


def looped(weight, xs):
    """A step up a slope, in a loop and behind a switch."""

    def bound(weight):
        return jax.vmap(lambda x: (x @ weight) @ weight.T)(xs).sum()

    def step(sign):
        def take(weight):
            value, slope = jax.value_and_grad(bound)(weight)
            return value, weight + sign * slope

        return take

    def body(number, state):
        return jax.lax.switch(number, [step(1), step(-1)], state[1])

    return jax.lax.fori_loop(0, 1, body, (0.0, weight))


def test_products_in_loops_branches_and_gradients_are_cut_and_remain_what_they_were():
    """Of small whole numbers every sum is exact, in whatever order."""
    xs, weight = jnp.sign(observed(50)), jnp.sign(weights())
    shared = products.share_products(looped)
    found = heights(shared, weight, xs)
    # In each branch two products forward and that of the gradient at the hidden values.
    assert (found.count(16), found.count(17)) == (2 * 3, 2 * 3 * 2)
    assert 50 not in found
    value, moved = jax.jit(shared)(weight, xs)
    expected, expected_moved = jax.jit(looped)(weight, xs)
    assert float(value) == float(expected)
    np.testing.assert_array_equal(moved, expected_moved)
    assert not np.array_equal(moved, weight)


def test_one_core_has_nothing_to_share(monkeypatch):
    monkeypatch.setattr(products, "cores", lambda: [0])
    assert products.share_products(jnp.dot) is jnp.dot
