"""S5: simplified state space layers (arXiv 2208.04933)."""
