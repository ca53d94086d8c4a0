"""Attention of the windows of a document, all at once: each on itself, or on the contexts of the window before it.

Windows are counted from the start of the document. A segment may begin inside a window, each sequence of a batch at a
`position` of its own, which is not known while a function is compiled: then the segment is moved so far to the right
that its windows are blocks of W positions. Segments of at most W positions stay where they are behind a mask.
"""

from typing import Any


def windows(length: int, window: int, position: Any) -> int:
    """The number of windows that a segment may touch; `position` is None where it begins a document."""
    return -(-length // window) if position is None else (length + window - 2) // window + 1
