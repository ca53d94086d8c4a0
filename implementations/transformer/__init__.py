"""Transformer layers: full and sliding window attention, Transformer-XL, absolute and relative positions, rotations."""
