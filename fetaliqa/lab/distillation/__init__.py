"""Distillation: a compact bundle that learns from the outputs of a larger model, and screens frames for it."""
