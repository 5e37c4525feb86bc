"""Several runs: which may be compared, how they differ, and what one has over another."""
