"""Block-State Transformer (arXiv 2306.09539): attention over windows whose context states come from an SSM."""
