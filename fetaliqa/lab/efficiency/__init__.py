"""Label efficiency: simulated annotation with each query strategy."""
