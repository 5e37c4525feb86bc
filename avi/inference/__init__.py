"""Inference modes: where lam comes from."""
