"""Bounds on log p(x), one class per estimator."""
