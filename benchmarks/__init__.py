"""How fast the stages are, beside peers, measured in one run: `python -m benchmarks --help`."""
