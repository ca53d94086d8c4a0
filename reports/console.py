"""How a command line ends when the program that reads its output is gone."""

import os
import sys
from collections.abc import Callable

READER_GONE = 141
"""What a shell reports of a program that SIGPIPE ended."""


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
