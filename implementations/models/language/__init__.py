"""Language models around any causal layer."""
