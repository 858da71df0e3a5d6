"""A policy to a table of metrics with intervals."""
