"""Data sets: prepared once to flat arrays, verified, and given out in batches that depend on seed and step alone."""

from suite.data.catalog import available, data_root, names, open_dataset, prepare_dataset
from suite.data.errors import CorruptData, DataError, NoData, SettingsError, UnknownData
from suite.data.prepared import Batch, Prepared, Split

__all__ = [
    "Batch",
    "CorruptData",
    "DataError",
    "NoData",
    "Prepared",
    "SettingsError",
    "Split",
    "UnknownData",
    "available",
    "data_root",
    "names",
    "open_dataset",
    "prepare_dataset",
]
