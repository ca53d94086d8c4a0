"""Language modelling: a book that is shipped, PG-19, WikiText-103, enwik8, and public arXiv and GitHub corpora."""

from suite.tasks import Task

_NOT_HERE = "this version reads no {0} data; run the tasks that `python -m suite.data list` names"

_PRIVATE = "the papers' {0} collection is private: this is a public stand-in, beside which no published number stands"
NOT_COMPARABLE = {
    "book": "no paper reads this book",
    "wikitext103": "SPADE's authors print no perplexity; Mega's (arXiv 2209.10655, table 5) stands on a final norm "
    "that learns no scale, on samples of changing length, and on chunks twice as long in tests",
    "enwik8": "the published numbers (arXiv 2306.11197, table of language models; arXiv 2209.10655, table 5) stand on "
    "a final norm that learns no scale, where the one here does",
    "arxiv": _PRIVATE.format("arXiv"),
    "github": _PRIVATE.format("GitHub"),
}
"""Why the numbers of a task stand beside no published ones."""

COMPARABLE = {"pg19": "lm-block-recurrent"}
"""The published protocol of a task: T5's vocabulary, all books, segments of 4,096 tokens with states carried through a
book, bits per token of the test split."""

TABLES = {
    "pg19": (
        "arXiv 2203.07852, table 1, PG19 in tokens: Slide:12L, Rec:fixed:skip and the rows that --set reaches from it",
        "arXiv 2306.09539, table 1, PG19: SLIDE:12L, BRECT:FIXED:SKIP, BST:SH:S4 and its other variants",
    ),
}
"""Where the numbers of that protocol are printed. PG19 by bytes and by words is other columns and other tables."""


def tasks() -> list[Task]:
    """The six tasks of the benchmark; published numbers join those whose protocol is a paper's."""
    titles = {
        "book": "One book by bytes, shipped with the project",
        "pg19": "PG-19 (books)",
        "wikitext103": "WikiText-103 (words)",
        "enwik8": "enwik8 (bytes of Wikipedia)",
        "arxiv": "arXiv (public stand-in)",
        "github": "GitHub (public stand-in)",
    }
    return [
        Task(
            name=f"lm.{name}",
            benchmark="lm",
            title=title,
            run="train",
            metric="bits_per_byte",
            comparable_to=COMPARABLE.get(name, ""),
            tables=TABLES.get(name, ()),
            not_comparable=NOT_COMPARABLE.get(name, ""),
            missing_data=_NOT_HERE.format(title),
        )
        for name, title in titles.items()
    ]
