"""Active learning: frame profiles, query strategies, leases, annotation queue."""
