"""Regression from films whose frames are seen at irregular times: a convolutional encoder before the layers."""
