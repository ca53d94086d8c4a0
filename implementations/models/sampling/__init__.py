"""Choosing the next token: greedy, sampled, or by beams."""
