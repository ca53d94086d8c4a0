"""Filters that are a function of the lag (unstructured kernels), as a bank like S4's."""
