"""Training of encoder-decoders on pairs of sequences, of which they write the second: summaries."""
