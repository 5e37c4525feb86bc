"""avi: amortized variational inference, run from the shell and measured in nats."""

__version__ = "0.1.0"
