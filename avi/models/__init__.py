"""Latent-variable models p(x, z; theta)."""
