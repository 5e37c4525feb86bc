"""Local optimisers of lam and the certificate of their convergence."""
