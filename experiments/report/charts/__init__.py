"""Vega-Lite charts of a sweep."""
