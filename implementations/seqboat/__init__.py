"""SeqBoat: sparse modular activation of gated attention over a linear state-space layer (arXiv 2306.11197)."""
