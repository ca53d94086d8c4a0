"""The two directions of a block-recurrent layer, of the tokens and of the states, and what their caches hold."""
