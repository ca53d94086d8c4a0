"""The text data sets by name."""

from suite.data.dataset import DataSet
from suite.data.text.book import BOOK
from suite.data.text.enwik8 import ENWIK8
from suite.data.text.folders import ARXIV, GITHUB
from suite.data.text.pg19 import PG19, PG19_LIKE
from suite.data.text.wikitext import WIKITEXT2, WIKITEXT103

TEXT_SETS: dict[str, DataSet] = {
    data_set.name: data_set for data_set in (BOOK, PG19, PG19_LIKE, WIKITEXT2, WIKITEXT103, ENWIK8, ARXIV, GITHUB)
}
