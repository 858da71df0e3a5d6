"""Rows of params, run as DVC experiments on one machine or many."""
