"""Where runs go and how several run side by side."""
