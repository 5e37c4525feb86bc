"""Runs in the formats of other tools: one file each. Imports no jax, and their libraries late."""
