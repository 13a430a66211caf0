"""Label efficiency: a simulated annotator runs the labelling loop with every query strategy."""
