"""f-DPO on recorded completions: losses, packing, decoding, scoring and metrics."""
