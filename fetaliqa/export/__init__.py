"""From annotated sweeps to data for others: selection, a writer for each format, labels from elsewhere."""
