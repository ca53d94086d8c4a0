"""Training over several devices of one machine in PyTorch; the JAX backend shards its arrays by itself."""
