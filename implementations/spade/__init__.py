"""SPADE (arXiv 2212.08136): local attention above a bottom layer in which S4 and local attention work side by side."""
