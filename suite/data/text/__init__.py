"""Language data: documents as flat token arrays, with the bytes and words that perplexities are counted in."""
