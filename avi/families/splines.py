"""Monotone rational-quadratic splines on the line."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from avi.types import Scalar

EDGE = 4.0  # the spline is on [-EDGE, EDGE], the identity beyond
SMALLEST = 1e-3  # width, height and slope: what is invertible stays so in single precision


def num_numbers(bins: int) -> int:
    """Return how many numbers make one spline: widths, heights and inner slopes."""
    return 3 * bins - 1


def spline(
    numbers: Float[Array, " n"], value: Scalar, *, inverse: bool = False
) -> tuple[Scalar, Scalar]:
    """Return the spline (or its inverse) at one value and the log of its own slope there.

    Durkan, Bekasov, Murray & Papamakarios (2019), section 3.1 and appendix A. Numbers that are all
    0 give the identity. The log slope is that of the spline in both directions.
    """
    bins = (len(numbers) + 1) // 3
    in_widths, in_heights, in_slopes = jnp.split(numbers, [bins, 2 * bins])
    x_knots, y_knots = _knots(in_widths), _knots(in_heights)
    # softplus(number + log(e - 1)) is 1 at 0, the slope of the identity.
    slopes = SMALLEST + (1 - SMALLEST) * jax.nn.softplus(in_slopes + jnp.log(jnp.e - 1))
    slopes = jnp.concatenate([jnp.ones(1), slopes, jnp.ones(1)])
    inside = jnp.abs(value) < EDGE
    kept = jnp.where(inside, value, 0.0)
    place = jnp.searchsorted((y_knots if inverse else x_knots)[1:-1], kept, side="right")
    x_left, y_left = x_knots[place], y_knots[place]
    width, height = x_knots[place + 1] - x_left, y_knots[place + 1] - y_left
    left, right, steep = slopes[place], slopes[place + 1], height / width
    bend = left + right - 2 * steep
    if inverse:
        rise = kept - y_left
        a = height * (steep - left) + rise * bend
        b = height * left - rise * bend
        c = -steep * rise
        share = 2 * c / (-b - jnp.sqrt(jnp.maximum(b**2 - 4 * a * c, 0.0)))
        moved = x_left + share * width
    else:
        share = (kept - x_left) / width
    mixed = share * (1 - share)
    denominator = steep + bend * mixed
    if not inverse:
        moved = y_left + height * (steep * share**2 + left * mixed) / denominator
    slope = steep**2 * (right * share**2 + 2 * steep * mixed + left * (1 - share) ** 2)
    log_slope = jnp.log(slope) - 2 * jnp.log(denominator)
    return jnp.where(inside, moved, value), jnp.where(inside, log_slope, 0.0)


def _knots(numbers: Float[Array, " b"]) -> Float[Array, " b+1"]:
    share = SMALLEST + (1 - SMALLEST * len(numbers)) * jax.nn.softmax(numbers)
    inner = -EDGE + 2 * EDGE * jnp.cumsum(share)[:-1]
    edge = jnp.full(1, EDGE)
    return jnp.concatenate([-edge, inner, edge])
