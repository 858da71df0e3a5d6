"""What finished sweeps show: comparisons at equal KL, tables and figures."""
