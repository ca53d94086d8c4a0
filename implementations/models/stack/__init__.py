"""The stack of layers that stands in every model."""
