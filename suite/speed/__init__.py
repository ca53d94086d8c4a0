"""Layer speed: one layer of several architectures, timed in turn against sequence length, behind a correctness gate.

`config.py` says what is measured, `measure.py` how, `jax.py` and `torch.py` are the layers on a device.
"""
