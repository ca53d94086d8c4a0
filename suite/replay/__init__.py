"""A record run again: the cell it is of, the circumstances here and there, the run, and how far its numbers agree."""
