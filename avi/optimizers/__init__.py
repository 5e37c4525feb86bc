"""Optimisers of theta and phi that yaml can choose beside those of optax."""
