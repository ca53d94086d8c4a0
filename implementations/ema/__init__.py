"""Multi-head exponential moving average, the token mixer of Mega (arXiv 2209.10655, section 3.1) and SeqBoat."""
