"""What theory says: every completion enumerated, so that no number has sampling noise."""
