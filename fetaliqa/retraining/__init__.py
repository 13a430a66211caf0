"""From corrections to a better model: retraining, the gate before publishing, and what is told of it meanwhile."""
