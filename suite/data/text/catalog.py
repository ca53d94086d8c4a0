"""The text data sets by name."""

from suite.data.text.book import BOOK
from suite.data.text.dataset import TextSet

TEXT_SETS: dict[str, TextSet] = {data_set.name: data_set for data_set in (BOOK,)}
