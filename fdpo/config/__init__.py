"""params.yaml, typed and checked before use."""
