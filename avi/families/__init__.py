"""Variational families: pure functions of the flat vector lam."""
