"""Retraining from confirmed labels: replay, candidate, gate, progress."""
