"""Densities of one observation given the outputs of a network."""
