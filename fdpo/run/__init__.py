"""How a stage runs: locks, resuming, processes, tracking.

Nothing here changes an output, so no stage in dvc.yaml depends on it.
"""
