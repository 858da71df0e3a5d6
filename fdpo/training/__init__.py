"""Pairs to a policy: trainer, order of pairs, checkpoints, callbacks, model card."""
