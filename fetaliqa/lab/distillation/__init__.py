"""Distillation: a small student learns, from a large model's own answers, which frames are worth its while."""
