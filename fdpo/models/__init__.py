"""Language models: load, pack branches, score sequences."""
