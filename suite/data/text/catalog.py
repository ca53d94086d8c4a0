"""The text data sets by name."""

from suite.data.dataset import DataSet
from suite.data.text.book import BOOK

TEXT_SETS: dict[str, DataSet] = {data_set.name: data_set for data_set in (BOOK,)}
