"""Texts to numbers: the reward models and the judges."""
