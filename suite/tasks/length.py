"""Length generalization: a language model trained on windows of one length reads texts of many lengths.

The trained model streams: its states are carried in memory that does not grow, and emptied after every so many tokens.
"""

from suite.tasks import Task


def tasks() -> list[Task]:
    """One task for each text whose documents are long."""
    titles = {"book": "the book that is shipped", "pg19": "PG-19"}
    return [
        Task(
            name=f"length.{name}",
            benchmark="length",
            title=f"One training length, many lengths to read: {title}",
            run="train",
            metric="bits_per_byte",
        )
        for name, title in titles.items()
    ]
