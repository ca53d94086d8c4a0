"""Batches in parts, one for each process (PyTorch); in JAX a sharded array is one array, and nothing is needed."""
