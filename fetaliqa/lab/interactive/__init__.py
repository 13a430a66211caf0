"""Training and evaluation of the interactive model: simulated clicks, boxes and previous masks."""
