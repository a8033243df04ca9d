"""The errors that a user can meet: one line each, naming the file or the parameter, its value and its limit."""

from __future__ import annotations


class Stem4dError(Exception):
    """Base of all errors raised on purpose by stem4d_panel."""


class DataError(Stem4dError, ValueError):
    """What was given as data cannot be used; the message starts with the name of the file or array."""


class SettingError(Stem4dError, ValueError):
    """A parameter was refused; the message starts with its full name, such as ``prepare.bin``."""


class Cancelled(Stem4dError):  # noqa: N818 - an ending, not an error
    """The work was cancelled before it ended."""
