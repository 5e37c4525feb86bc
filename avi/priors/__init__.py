"""Priors p(z) of models that leave them open."""
