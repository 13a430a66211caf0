"""Assessment of many sweeps: processes, shards, Ray, done markers, tables."""
