"""Long-sequence architectures, each twice: Flax NNX and PyTorch twins proven equal."""
