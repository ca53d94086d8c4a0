"""Encoder-decoders around any layers, with heads for generation and classification."""
