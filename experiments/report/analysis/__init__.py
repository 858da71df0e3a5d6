"""What the rows of a sweep say: estimates, frontiers, comparisons at equal KL."""
