"""The errors of the data layer: each message names the thing and what to do about it."""


class DataError(Exception):
    """Data that cannot be read, written or used."""


class NoData(DataError):
    """Data that are not prepared here; the message holds the command that prepares them."""


class CorruptData(DataError):
    """Prepared data that differ from what was written; the message holds the command that mends them."""


class SettingsError(DataError, ValueError):
    """A setting of a data set that is unknown or has an impossible value."""


class UnknownData(DataError, ValueError):
    """A data set's name that is not known; the message names the nearest known one."""
