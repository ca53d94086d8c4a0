"""The Block-Recurrent Transformer: a sliding window layer beside a set of states that every block of tokens updates."""
