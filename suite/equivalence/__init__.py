"""The parity ladder: cases, the twins behind one interface, and one module per group of rungs.

An architecture joins by a module `suite/equivalence/<architecture>.py` with `layer_cases()`, `model_cases()`, the
`OPERATIONS` it is built on, and `adjust(config, parameters, rng)`, which moves its parameters away from their constant
initial values. A layer whose state is no single array of floats gives `draw_state(config, rng, batch)`, the leaves of
the state by dotted name. Its oracle is `implementations/<architecture>/reference.py:layer`.
"""
