"""Prompts to completions: sampling, diverse beams, the cached decoder."""
