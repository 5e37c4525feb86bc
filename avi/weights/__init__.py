"""Tensors of other libraries: read without running anything, and named into avi's parameters."""
