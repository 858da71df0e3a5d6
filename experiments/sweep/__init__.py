"""Rows of params, run as DVC experiments."""
