"""Training of language models: the loop, its metrics, and a backend in each framework."""
