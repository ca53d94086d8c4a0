"""The rules of update of `suite/training/optimizer.py`: `jax.py` and `torch.py`, twins."""
