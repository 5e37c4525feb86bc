"""Latent Dirichlet allocation in numpy alone: nothing here imports avi or jax.

A document is a list of term ids and their counts; topics are beta[K, V] and known.
"""

from itertools import product

import numpy as np
from scipy.special import gammaln, logsumexp, psi, roots_jacobi


def bound(ids, counts, log_beta, alpha, tolerance=1e-12, max_updates=5000):
    """Return the ELBO under q(z) q(tokens' topics) at its coordinate optimum, and gamma.

    Term by term, phi_wk of each, and every expectation of Blei, Ng & Jordan (2003), eq. 15.
    """
    number = len(log_beta)
    gamma = np.full(number, alpha + sum(counts) / number)
    counts = np.asarray(counts, float)
    for _ in range(max_updates):
        expected = psi(gamma) - psi(gamma.sum())
        log_phi = expected[:, None] + log_beta[:, ids]
        phi = np.exp(log_phi - logsumexp(log_phi, axis=0))
        new = alpha + phi @ counts
        moved, gamma = abs(new - gamma).max(), new
        if moved < tolerance:
            break
    expected = psi(gamma) - psi(gamma.sum())
    value = gammaln(number * alpha) - number * gammaln(alpha) + (alpha - 1) * expected.sum()
    value += ((phi * counts) * (expected[:, None] + log_beta[:, ids])).sum()
    value -= ((phi * counts) * np.log(np.maximum(phi, 1e-300))).sum()
    value -= gammaln(gamma.sum()) - gammaln(gamma).sum() + ((gamma - 1) * expected).sum()
    return value, gamma


def tokens_of(ids, counts):
    """Return the tokens one by one."""
    return np.repeat(ids, counts)


def evidence_by_enumeration(ids, counts, beta, alpha):
    """Return log p(x), the sum over K^N topics of tokens."""
    tokens, number = tokens_of(ids, counts), len(beta)
    terms = []
    for topics in product(range(number), repeat=len(tokens)):
        used = np.bincount(topics, minlength=number)
        terms.append(_log_dirichlet_multinomial(used, alpha) + np.log(beta[topics, tokens]).sum())
    return logsumexp(terms)


def evidence_by_counts(ids, counts, beta, alpha):
    """Return log p(x) by the counts of tokens in each topic: the coefficients of a polynomial."""
    number = len(beta)
    weight = {(0,) * number: 0.0}
    for token in tokens_of(ids, counts):
        new = {}
        for used, log_weight in weight.items():
            for k in range(number):
                key = used[:k] + (used[k] + 1,) + used[k + 1 :]
                new[key] = np.logaddexp(new.get(key, -np.inf), log_weight + np.log(beta[k, token]))
        weight = new
    return logsumexp(
        [_log_dirichlet_multinomial(np.array(used), alpha) + w for used, w in weight.items()]
    )


def evidence_by_quadrature(ids, counts, beta, alpha):
    """Return log p(x) for K = 2 by Gauss-Jacobi: the integrand is a polynomial in the share."""
    nodes, weights = roots_jacobi((sum(counts) + 3) // 2, alpha - 1, alpha - 1)
    share = (nodes + 1) / 2
    mixed = share[:, None] * beta[0, ids] + (1 - share)[:, None] * beta[1, ids]
    log_terms = np.log(mixed) @ np.asarray(counts, float) + np.log(weights / weights.sum())
    return logsumexp(log_terms)


def _log_dirichlet_multinomial(used, alpha):
    number, total = len(used), used.sum()
    value = gammaln(number * alpha) - gammaln(number * alpha + total)
    return value + (gammaln(alpha + used) - gammaln(alpha)).sum()
