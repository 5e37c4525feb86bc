"""Write avi/verify/oracles.json: problems and their exact answers, by numpy and mpmath alone.

usage: python tests/oracles/make_oracles.py [file]

Nothing here imports avi or jax. Each expected value is a closed form, a low-dimensional integral
or a small convex optimisation; docstrings name the formula.
"""

import json
import sys
from itertools import product
from pathlib import Path

import mpmath
import numpy as np
from scipy.optimize import minimize
from scipy.special import digamma, gammaln
from scipy.stats import dirichlet, norm

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from oracles.closed_forms import (
    LOG_TWO_PI,
    LinearGaussian,
    gaussian_gap,
    linear_gaussian,
    log_normal,
    mean_field_gap,
    ppca_maximum,
)

TARGET = Path(__file__).resolve().parents[2] / "avi" / "verify" / "oracles.json"
DIGITS = 10  # of every stored number: what platforms agree on


def rounded(value):
    """Return plain numbers with a fixed number of significant digits."""
    if isinstance(value, dict):
        return {key: rounded(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple, np.ndarray)):
        return [rounded(inner) for inner in value]
    return float(f"{float(value):.{DIGITS}g}")


def exactly(draws, *shape):
    """Return standard normal draws with four decimals, so that the stored input is the input."""
    return np.round(draws.standard_normal(shape), 4)


def average(function, rows):
    """Return the mean of `function` over rows."""
    return np.mean([function(row) for row in rows], axis=0)


def weighted_least_squares(features, targets, weights):
    """Return the mean of (a - m)' Lambda (a - m) / 2 at its minimum over a = features B.

    The weighting by Lambda drops out because every output has its own coefficients.
    """
    coefficients, *_ = np.linalg.lstsq(features, targets, rcond=None)
    left = targets - features @ coefficients
    return 0.5 * np.mean(np.einsum("ni,ij,nj->n", left, weights, left))


def linear():
    """O1: linear-Gaussian with d = 3, D = 6."""
    draws = np.random.RandomState(1)
    weight, mean = exactly(draws, 6, 3), exactly(draws, 6)
    scale = np.round(draws.uniform(0.6, 1.4, 6), 4)
    model = LinearGaussian(weight, mean, scale)
    x = np.round(
        draws.standard_normal((60, 3)) @ weight.T + mean + scale * draws.standard_normal((60, 6)), 4
    )
    means = (x - mean) @ model.gain.T
    precision = model.precision
    gap = mean_field_gap(precision)
    evidence = average(model.log_evidence, x)
    ones = np.ones((60, 1))
    centred = (means - means.mean(axis=0)) @ np.linalg.cholesky(precision)
    values = np.sort(np.linalg.eigvalsh(centred.T @ centred / 60))[::-1]
    member = {"mean": [0.3, -0.5, 0.8], "log_scale": [-0.4, 0.1, -1.0]}
    variances = np.diag(np.exp(2 * np.array(member["log_scale"])))
    # Turning z leaves the evidence as it is and makes Lambda diagonal: no gap is left.
    _, rotation = np.linalg.eigh(precision)
    turned = LinearGaussian(np.round(weight @ rotation, 12), mean, scale)
    # A constant rescaling of s by 1.5 costs (s^2 Lambda - 1 - log s^2 Lambda) / 2 for each latent.
    wide = 3 * 0.5 * (1.5**2 - 1 - 2 * np.log(1.5))
    return {
        "problem": {
            "weight": weight,
            "mean": mean,
            "scale": scale,
            "x": x,
            "turned": turned.weight,
            "member": member,
        },
        "expected": {
            "evidence": evidence,
            "evidence, rotated": evidence,
            "elbo of a given q": average(
                lambda row: model.elbo(row, np.array(member["mean"]), variances), x
            ),
            "gap, diagonal q": gap,
            "gap, diagonal q, rotated": mean_field_gap(turned.precision),
            "gap, full-rank q": 0.0,
            "gap of 1.5 too wide q": wide,
            "one natural step, full rank": 0.0,
            "variances of diagonal q": np.sum(1 / np.diag(precision)),
            "gap, free-form table": gap,
            "gap, linear encoder": 0.0,
            "gap, semi-amortized": 0.0,
            "gap, constant encoder": weighted_least_squares(ones, means, precision),
            "gap, encoder of x1 x2": weighted_least_squares(
                np.hstack([ones, x[:, :2]]), means, precision
            ),
            "gap, rank-1 encoder": 0.5 * values[1:].sum(),
        },
    }


def missing():
    """O1 with missing entries: Lambda depends on what is seen."""
    draws = np.random.RandomState(2)
    model = linear_gaussian(seed=5, size=5, latent_size=2)
    model = LinearGaussian(*(np.round(part, 4) for part in (model.weight, model.mean, model.scale)))
    masks = np.array([[1, 1, 1, 1, 1], [1, 0, 0, 1, 0], [0, 1, 1, 0, 1]])
    patterns = np.repeat(masks, 20, axis=0)
    values = draws.standard_normal((60, 2)) @ model.weight.T + model.mean
    values = np.round(values + model.scale * draws.standard_normal((60, 5)), 4) * patterns
    parts = [model.observed(mask > 0) for mask in patterns]
    evidence = [
        part.log_evidence(v[m > 0]) for part, v, m in zip(parts, values, patterns, strict=True)
    ]
    diagonals = np.array([np.diag(part.precision) for part in parts])
    shared = 0.5 * np.sum(np.log(diagonals.mean(axis=0)) - np.log(diagonals).mean(axis=0))
    return {
        "problem": {
            "weight": model.weight,
            "mean": model.mean,
            "scale": model.scale,
            "value": values,
            "mask": patterns,
        },
        "expected": {
            "evidence": np.mean(evidence),
            "gap, diagonal q": np.mean([mean_field_gap(part.precision) for part in parts]),
            "gap, shared variances": shared,
        },
    }


def ppca():
    """O2: Tipping & Bishop (1999); with a fixed noise s^2 every eigenvalue below it collapses."""
    draws = np.random.RandomState(3)
    plane = exactly(draws, 5, 2) * np.array([1.5, 1.0])
    x = np.round(draws.standard_normal((80, 2)) @ plane.T + 0.6 * draws.standard_normal((80, 5)), 4)
    values = np.sort(np.linalg.eigvalsh(np.cov(x.T, bias=True)))[::-1]
    noise = np.round(np.sqrt(0.5 * (values[1] + values[2])), 4) ** 2
    kept = values > noise
    fixed = -0.5 * (
        5 * LOG_TWO_PI
        + np.log(values[kept]).sum()
        + kept.sum()
        + (~kept).sum() * np.log(noise)
        + values[~kept].sum() / noise
    )
    maximum = ppca_maximum(x, 2)
    return {
        "problem": {"x": x, "fixed_scale": np.sqrt(noise)},
        "expected": {
            "evidence, linear encoder": maximum,
            "bound, linear encoder": maximum,
            "evidence, free-form table": maximum,
            "evidence, fixed noise": fixed,
            "units in use of 4": kept.sum(),
        },
    }


def hierarchy():
    """O3: the joint of (m, t_1 ... t_J) is normal with an arrow-shaped precision."""
    draws = np.random.RandomState(4)
    prior_scale, between = 2.0, 0.8
    scale = np.round(np.exp(draws.uniform(-1, 1, (20, 4))), 4)
    value = np.round(2 * exactly(draws, 20, 1) + between * exactly(draws, 20, 4), 4)
    evidence, gaps = [], []
    for s, v in zip(scale, value, strict=True):
        covariance = prior_scale**2 * np.ones((4, 4)) + np.diag(between**2 + s**2)
        evidence.append(log_normal(v, np.zeros(4), covariance))
        precision = np.diag([1 / prior_scale**2 + 4 / between**2, *(1 / between**2 + 1 / s**2)])
        precision[0, 1:] = precision[1:, 0] = -1 / between**2
        gaps.append(mean_field_gap(precision))
    return {
        "problem": {"scale": scale, "value": value, "prior_scale": prior_scale, "between": between},
        "expected": {
            "evidence": np.mean(evidence),
            "gap, diagonal q": np.mean(gaps),
            "gap, full-rank q": 0.0,
        },
    }


def mixture():
    """O5: the posterior is r_k = pi_k N(x; mu_k, Sigma) / p(x); the gap of q is KL(q || r)."""
    draws = np.random.RandomState(5)
    logits, means = np.array([0.2, -0.3, 0.5]), np.round(1.5 * exactly(draws, 3, 2), 4)
    scale = np.array([0.8, 1.2])
    z = draws.randint(0, 3, 60)
    x = np.round(means[z] + scale * draws.standard_normal((60, 2)), 4)
    prior = logits - np.log(np.exp(logits).sum())
    joint = np.array(
        [[prior[k] + log_normal(row, means[k], np.diag(scale**2)) for k in range(3)] for row in x]
    )
    evidence = np.logaddexp.reduce(joint, axis=1)
    uniform = np.mean(-np.log(3) - (joint - evidence[:, None]).mean(axis=1))
    return {
        "problem": {"logits": logits, "mean": means, "scale": scale, "x": x},
        "expected": {
            "evidence": evidence.mean(),
            "gap of the uniform q": uniform,
            "gap after one natural step": 0.0,
            "gap, affine encoder": 0.0,
        },
    }


def counts():
    """O6: x ~ Poisson(e^(z + c)), ELBO x (m + c) - e^(m + c + s^2 / 2) - log x! - KL."""
    x, offset = 4, 0.5

    def negative(params):
        mean, log_scale = params
        variance = np.exp(2 * log_scale)
        rate = np.exp(mean + offset + variance / 2)
        divergence = 0.5 * (variance + mean**2 - 1) - log_scale
        return -(x * (mean + offset) - rate - gammaln(x + 1) - divergence)

    best = minimize(negative, np.zeros(2), method="BFGS", options={"gtol": 1e-11})
    mpmath.mp.dps = 30

    def density(z):
        log_rate = z + offset
        return mpmath.exp(
            x * log_rate - mpmath.exp(log_rate) - mpmath.log(mpmath.factorial(x)) - z**2 / 2
        ) / mpmath.sqrt(2 * mpmath.pi)

    evidence = float(mpmath.log(mpmath.quad(density, mpmath.linspace(-10, 10, 41))))
    return {
        "problem": {"x": x, "offset": offset},
        "expected": {
            "evidence": evidence,
            "bound at lam*": -best.fun,
            "mean at lam*": best.x[0],
            "scale at lam*": np.exp(best.x[1]),
        },
    }


def hermite(number):
    """Return nodes and weights against N(0, 1)."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(number)
    return nodes, weights / weights.sum()


def bernoulli(bits, logits):
    """Return the sum over the last axis of x l - log(1 + e^l)."""
    return np.sum(bits * logits - np.logaddexp(0, logits), axis=-1)


def best_diagonal(log_likelihood, size):
    """Return the largest ELBO of a diagonal Gaussian, on a tensor of 50 Gauss-Hermite nodes."""
    nodes, weights = hermite(50)
    eps = np.array(list(product(nodes, repeat=size)))
    products = np.prod(np.array(list(product(weights, repeat=size))), axis=1)

    def negative(params):
        mean, log_scale = params[:size], params[size:]
        divergence = 0.5 * np.sum(np.exp(2 * log_scale) + mean**2 - 1) - log_scale.sum()
        return divergence - products @ log_likelihood(mean + np.exp(log_scale) * eps)

    starts = [np.concatenate([sign * np.ones(size), np.zeros(size)]) for sign in (-0.5, 0.5)]
    return max(
        -minimize(negative, start, method="BFGS", options={"gtol": 1e-10}).fun for start in starts
    )


def sigmoid():
    """O6: one latent, x_i ~ Bernoulli(sigmoid(w_i z + b_i)): a log-concave likelihood."""
    weight = np.array([1.5, -2.0, 0.7, 3.0])
    bias = np.array([0.2, 0.5, -1.0, 0.3])
    bits = np.array([1.0, 0.0, 0.0, 1.0])
    mpmath.mp.dps = 30

    def density(z):
        total = -(z**2) / 2
        for w, b, bit in zip(weight, bias, bits, strict=True):
            logit = mpmath.mpf(w) * z + mpmath.mpf(b)
            total += bit * logit - mpmath.log(1 + mpmath.exp(logit))
        return mpmath.exp(total) / mpmath.sqrt(2 * mpmath.pi)

    evidence = float(mpmath.log(mpmath.quad(density, mpmath.linspace(-12, 12, 49))))
    bound = best_diagonal(lambda z: bernoulli(bits, z * weight + bias), 1)
    return {
        "problem": {"weight": weight, "bias": bias, "x": bits},
        "expected": {"evidence": evidence, "bound at lam*": bound, "gap": evidence - bound},
    }


def tanh():
    """O6: two latents, a tanh layer of 3 units, Bernoulli outputs; a fine grid integrates it."""
    draws = np.random.RandomState(6)
    first, second = np.round(1.5 * exactly(draws, 2, 3), 4), np.round(2 * exactly(draws, 3, 5), 4)
    bias, bits = exactly(draws, 5), np.array([1.0, 0.0, 1.0, 1.0, 0.0])

    def log_likelihood(z):
        return bernoulli(bits, np.tanh(z @ first) @ second + bias)

    grid = np.linspace(-9, 9, 721)
    z = np.stack(np.meshgrid(grid, grid), axis=-1).reshape(-1, 2)
    log_joint = log_likelihood(z) - 0.5 * np.sum(z**2, axis=1) - LOG_TWO_PI
    evidence = np.logaddexp.reduce(log_joint) + 2 * np.log(grid[1] - grid[0])
    bound = best_diagonal(log_likelihood, 2)
    return {
        "problem": {"first": first, "second": second, "bias": bias, "x": bits},
        "expected": {"evidence": evidence, "bound at lam*": bound, "gap": evidence - bound},
    }


def relu():
    """O6: a ReLU decoder is linear between its kinks, so p(x) is a sum of truncated Gaussians."""
    draws = np.random.RandomState(7)
    inner, kink = np.array([1.0, -1.3, 0.8, -0.6]), np.array([0.5, 0.2, -0.9, 1.1])
    outer, bias, scale = exactly(draws, 4, 3), exactly(draws, 3), 0.5
    x = np.array([0.4, -0.2, 0.9])
    breaks = np.concatenate([[-np.inf], np.sort(-kink / inner), [np.inf]])
    terms = []
    for low, high in zip(breaks[:-1], breaks[1:], strict=True):
        # Any point inside the piece tells which units are active.
        middle = high - 1 if np.isinf(low) else low + 1 if np.isinf(high) else 0.5 * (low + high)
        active = (inner * middle + kink) > 0
        slope, offset = (inner * active) @ outer, (kink * active) @ outer + bias
        precision = 1 + slope @ slope / scale**2
        mean = slope @ (x - offset) / scale**2 / precision
        covariance = np.outer(slope, slope) + scale**2 * np.eye(3)
        ends = (np.array([low, high]) - mean) * np.sqrt(precision)
        # The difference of two small tails does not cancel, that of two numbers near 1 would.
        upper, lower = norm.sf(ends), norm.cdf(ends)
        share = upper[0] - upper[1] if ends[0] > 0 else lower[1] - lower[0]
        terms.append(log_normal(x, offset, covariance) + np.log(share))
    return {
        "problem": {
            "inner": inner,
            "kink": kink,
            "outer": outer,
            "bias": bias,
            "scale": scale,
            "x": x,
        },
        "expected": {
            "evidence, quadrature": np.logaddexp.reduce(terms),
            "evidence, importance": np.logaddexp.reduce(terms),
        },
    }


def sequence():
    """O7: Lambda = Sigma^-1 + I / r; no encoder of one x_t reaches the posterior mean."""
    draws = np.random.RandomState(8)
    persistence, noise, length = 0.9, 0.5, 12
    lags = np.abs(np.subtract.outer(np.arange(length), np.arange(length)))
    prior = persistence**lags
    root = np.linalg.cholesky(prior + noise * np.eye(length))
    x = np.round(draws.standard_normal((60, length)) @ root.T, 4)
    precision = np.linalg.inv(prior) + np.eye(length) / noise
    means = x @ np.linalg.inv(precision).T / noise
    marginal = prior + noise * np.eye(length)
    diagonal = np.diag(precision)
    # a_t = v x_t + c for all t: least squares in the norm of Lambda on the stacked features.
    white = np.linalg.cholesky(precision).T
    columns = [np.ravel(x @ white.T), np.ravel(np.ones_like(x) @ white.T)]
    features, targets = np.stack(columns, axis=1), np.ravel(means @ white.T)
    coefficients, *_ = np.linalg.lstsq(features, targets, rcond=None)
    left = targets - features @ coefficients
    shared = 0.5 * left @ left / len(x)
    scales = 0.5 * (length * np.log(diagonal.mean()) - np.log(diagonal).sum())
    gain = np.linalg.inv(precision) / noise
    product = precision @ gain @ marginal
    population = 0.5 * (
        np.trace(product @ gain.T) - np.trace(product) ** 2 / np.trace(precision @ marginal)
    )
    return {
        "problem": {"persistence": persistence, "noise": noise, "x": x},
        "reference": {"gap of one x at a time, all sequences": population},
        "expected": {
            "evidence": average(lambda row: log_normal(row, np.zeros(length), marginal), x),
            "gap, diagonal q": mean_field_gap(precision),
            "gap, full-rank q": 0.0,
            "gap, whole-sequence encoder": 0.0,
            "gap, one x at a time": shared + scales,
        },
    }


def estimators():
    """O9: what is known of the estimators themselves, for a normal posterior and a normal q."""
    draws = np.random.RandomState(9)
    weight, mean = exactly(draws, 4, 2), exactly(draws, 4)
    model = LinearGaussian(weight, mean, np.full(4, 1.2))
    x = exactly(draws, 4)
    posterior = model.posterior_mean(x)
    spread = np.linalg.inv(model.precision)
    diagonal = np.diag(np.diag(model.precision))
    # q = N(m, 1 / diag Lambda): 1 + chi^2 = |Lambda| / (|D|^(1/2) |2 Lambda - D|^(1/2)).
    second = np.linalg.det(model.precision) / np.sqrt(
        np.linalg.det(diagonal) * np.linalg.det(2 * model.precision - diagonal)
    )
    # E[log of the mean of two weights], w = N(z; 0, 1) / N(z; 0.5, 0.8^2), over both draws.
    nodes, weights = hermite(80)
    z = 0.5 + 0.8 * nodes
    log_weight = norm.logpdf(z) - norm.logpdf(z, 0.5, 0.8)
    pair = np.logaddexp(log_weight[:, None], log_weight[None, :]) - np.log(2)
    shifted = {"mean": posterior + np.array([0.4, -0.3]), "scale": 1.3 * np.sqrt(np.diag(spread))}
    return {
        "problem": {
            "weight": weight,
            "mean": mean,
            "scale": model.scale,
            "x": x,
            "posterior_mean": posterior,
            "mean_field_scale": 1 / np.sqrt(np.diag(model.precision)),
            "shifted": shifted,
        },
        "expected": {
            "iwae is unbiased for p(x)": 1.0,
            "iwae weights, second moment": second,
            "iwae of two draws": weights @ pair @ weights,
            "elbo of one draw": weights @ log_weight,
            "pareto shape of the weights": 0.4,
            "ais is unbiased for p(x)": 1.0,
            "stick-the-landing noise at p(z|x)": 0.0,
            "kl to the prior": gaussian_gap(
                shifted["mean"], np.diag(shifted["scale"] ** 2), np.zeros(2), np.eye(2)
            ),
        },
    }


def folds():
    """x ~ N(z^2, s^2), z ~ N(0, p^2): one-dimensional integrals around both roots, by products."""
    x, narrow, wide, spread = 1.3, 0.005, 0.15, 40.0
    mpmath.mp.dps = 30

    def evidence(noise, prior):
        def density(z):
            away = ((x - z**2) / noise) ** 2 / 2 + (z / prior) ** 2 / 2
            return mpmath.exp(-away) / (2 * mpmath.pi * noise * prior)

        root, width = np.sqrt(x), noise / (2 * np.sqrt(x))
        ends = [0, *(root + width * k for k in range(-40, 41, 4) if root + width * k > 0), 4]
        return float(mpmath.log(2 * mpmath.quad(density, sorted(ends))))

    return {
        "problem": {"x": x, "narrow": narrow, "wide": wide, "spread": spread},
        "expected": {
            "narrow": evidence(narrow, 1),
            "narrow, wide prior": evidence(narrow, spread),
            "narrow, two latents": 2 * evidence(narrow, 1),
            "annealed from the prior": 3 * evidence(wide, 1),
        },
    }


def saturated():
    """A mixture of two far from x: the bound of q(z) = 1 at k is log p(x, k)."""
    logits, means = np.array([0.0, 0.3]), np.array([[0.0], [1.0]])
    scale, x = np.array([[1.0], [3.0]]), np.array([-80.0])
    prior = logits - np.log(np.exp(logits).sum())
    joint = [prior[k] + log_normal(x, means[k], np.diag(scale[k] ** 2)) for k in range(2)]
    evidence = np.logaddexp.reduce(joint)
    return {
        "problem": {"logits": logits, "mean": means, "scale": scale, "x": x},
        "expected": {
            "evidence": evidence,
            "bound of the wrong certainty": joint[0],
            "bound at the known optimum": evidence,
        },
    }


def densities():
    """Totals are 1; scipy's Dirichlet; the mean l / (2 l - 1) + 1 / (2 artanh(1 - 2 l))."""
    logit, first = 1.7, np.array([0.5, 2.0, 3.0])
    other = np.array([1.5, 1.0, 0.8])
    share = 1 / (1 + np.exp(-logit))
    mean = share / (2 * share - 1) + 1 / (2 * np.arctanh(1 - 2 * share))
    expected_log = digamma(first) - digamma(first.sum())

    def log_norm(concentration):
        return gammaln(concentration).sum() - gammaln(concentration.sum())

    divergence = (first - other) @ expected_log + log_norm(other) - log_norm(first)
    return {
        "problem": {"logit": logit, "concentration": first, "other": other},
        "expected": {
            "Bernoulli, total": 1.0,
            "continuous Bernoulli, total": 1.0,
            "continuous Bernoulli, mean": mean,
            "Gaussian, total": 1.0,
            "Dirichlet, entropy": dirichlet.entropy(first),
            "Dirichlet, KL to another": divergence,
        },
    }


def make():
    """Return everything that the file holds."""
    parts = (linear, missing, ppca, hierarchy, mixture, counts, sigmoid, tanh, relu, sequence)
    later = (estimators, folds, saturated, densities)
    return {part.__name__: rounded(part()) for part in (*parts, *later)}


def main():
    """Write the file."""
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else TARGET
    target.write_text(json.dumps(make(), indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
