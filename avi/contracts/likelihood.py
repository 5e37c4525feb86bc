"""What a likelihood must fulfil: total probability 1, draws of it, and the mean of them."""

from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from avi.abilities import Entrywise
from avi.contracts.claims import Claim, drawn, exactly, length_of, mean_is, projected
from avi.experiment import HOLDS
from avi.types import Likelihood

SIZE = 4  # entries of x that it is tried on
MEANS = {"binary": 0.3, "unit": 0.3, "count": 3.0}  # of x where the outputs start


def claims(likelihood: Likelihood, draws: int = 20_000) -> Iterator[Claim]:
    """Yield what holds of a likelihood, around outputs that a network may give."""
    known = likelihood.support in HOLDS
    yield Claim("support is one that avi knows", known, f"{likelihood.support!r} of {[*HOLDS]}")
    if not known:
        return
    params = likelihood.init(SIZE)
    mean = jnp.full(SIZE, MEANS.get(likelihood.support, 0.3))
    bias = jnp.ravel(likelihood.output_bias(mean))
    wanted = likelihood.num_outputs(SIZE)
    if wanted != bias.size:
        yield Claim("output_bias has num_outputs entries", False, f"{bias.size} for {wanted}")
        return
    bias = bias if wanted == SIZE else bias.reshape(-1, SIZE)
    outputs = bias + 0.2 * jax.random.normal(jax.random.key(1), bias.shape)
    if wanted == SIZE:
        found = likelihood.mean(params, bias)
        yield exactly("mean(output_bias(m)) is m", found, mean, 1e-3)
    x = drawn(lambda key: likelihood.sample(params, outputs, key), draws)
    yield Claim("a draw has the shape of x", x.shape[1:] == (SIZE,), f"{x.shape[1:]} for {(SIZE,)}")
    if x.shape[1:] != (SIZE,):
        return
    yield _of_support(likelihood, np.asarray(x))
    density = jax.eval_shape(likelihood.log_prob, params, outputs, x[0])
    yield Claim("log_prob is one number for one x", density.shape == (), f"shape {density.shape}")
    if density.shape != ():
        return
    if isinstance(likelihood, Entrywise):
        alone = likelihood.log_probs(params, outputs, x[0])
        yield Claim("log_probs has the shape of x", alone.shape == (SIZE,), f"{alone.shape}")
        together = likelihood.log_prob(params, outputs, x[0])
        yield exactly("log_probs sum to log_prob", alone.sum(), together, 1e-4)

    def score(x: Array) -> Array:
        return projected(jax.grad(likelihood.log_prob, argnums=(0, 1))(params, outputs, x))

    yield mean_is("the draws are of the density (its score has mean 0)", jax.lax.map(score, x))
    way = jax.random.normal(jax.random.key(2), outputs.shape)

    def log_prob(outputs: Array, x: Array) -> Array:
        return likelihood.log_prob(params, outputs, x)

    @jax.jit
    def moved_over_unmoved(x: Array) -> Array:
        slopes = jax.vmap(lambda x: jax.jvp(lambda out: log_prob(out, x), (outputs,), (way,))[1])(x)
        moved = outputs + length_of(slopes) * way
        return jax.vmap(lambda x: jnp.exp(log_prob(moved, x) - log_prob(outputs, x)))(x)

    ratios = moved_over_unmoved(x)
    yield mean_is("total probability stays 1 as the outputs move", ratios, 1.0)
    yield mean_is("mean is that of the draws", x, likelihood.mean(params, outputs))
    few = jax.tree.map(lambda leaf: leaf[:2] if leaf.ndim else leaf, params)
    yield _of_total(likelihood, lambda x: likelihood.log_prob(few, outputs[..., :2], x))


def _of_support(likelihood: Likelihood, x: np.ndarray) -> Claim:
    inside = {
        "binary": (x == 0) | (x == 1),
        "unit": (x >= 0) & (x <= 1),
        "count": (x >= 0) & (x == np.floor(x)),
        "positive": x > 0,
    }.get(likelihood.support, np.isfinite(x))
    return Claim(
        "draws lie in the support",
        bool(inside.all()),
        f"{int((~inside).sum())} of {x.size} outside",
    )


def _of_total(likelihood: Likelihood, log_prob: Callable[[Array], Array]) -> Claim:
    """Sum or integrate the density of two entries, on the real line over u / (1 - u^2)."""
    nodes, weights = np.polynomial.legendre.leggauss(100)
    if likelihood.support == "binary":
        points, logs = np.array([0.0, 1.0]), np.zeros(2)
    elif likelihood.support == "count":
        codes = getattr(likelihood, "categories", 100)
        points, logs = np.arange(float(codes)), np.zeros(codes)
    elif likelihood.support == "positive":
        points = (1 + nodes) / (1 - nodes)
        logs = np.log(2 * weights / (1 - nodes) ** 2)
    elif likelihood.support == "unit":
        points, logs = (nodes + 1) / 2, np.log(weights / 2)
    else:
        points = nodes / (1 - nodes**2)
        logs = np.log(weights * (1 + nodes**2) / (1 - nodes**2) ** 2)
    grid = np.stack(np.meshgrid(points, points), axis=-1).reshape(-1, 2)
    values = jax.lax.map(log_prob, jnp.asarray(grid, float), batch_size=100)
    total = jax.nn.logsumexp(values + np.add.outer(logs, logs).ravel())
    return exactly("probabilities of two entries sum to 1", np.exp(total), 1.0, 1e-3)
