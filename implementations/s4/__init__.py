"""S4 (arXiv 2111.00396) and S4D (arXiv 2206.11893): banks of single-input state space models."""
