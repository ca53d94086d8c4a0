"""Mega: moving average equipped gated attention, over whole sequences or chunks (arXiv 2209.10655)."""
