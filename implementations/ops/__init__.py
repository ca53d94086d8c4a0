"""The operations the architectures share, each with a naive NumPy oracle and its two twins."""
