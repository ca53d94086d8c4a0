"""Language modelling: a book that is shipped, PG-19, WikiText-103, enwik8, and public arXiv and GitHub corpora."""

from suite.tasks import Task

_NOT_HERE = "this version reads no {0} data; run the tasks that `python -m suite.data list` names"


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
            missing_data=_NOT_HERE.format(title),
        )
        for name, title in titles.items()
    ]
