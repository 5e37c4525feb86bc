"""Estimators of log p(x), each with its kind."""
