"""Measured results: what a model does on held-out cases."""
