"""What command lines share: how they count, and how they end when the program that reads their output is gone."""

import os
import sys
from collections.abc import Callable

READER_GONE = 141
"""What a shell reports of a program that SIGPIPE ended."""


def counted(number: int, noun: str) -> str:
    """A number of things: "1 cell", "2 cells"."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def exit_status(main: Callable[[], int]) -> int:
    """The status of a command line; `READER_GONE`, without a word, where nobody reads its output any more (`head`)."""
    try:
        try:
            return main()
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return READER_GONE
