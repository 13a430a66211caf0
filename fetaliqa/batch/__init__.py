"""Many sweeps: what of them is done, who computes the rest, and the tables at the end (docs/scale.md)."""
