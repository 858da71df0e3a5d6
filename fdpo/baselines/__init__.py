"""The reference without training: its held-out samples, tempered and best-of-n, with intervals."""
