"""What goes wrong, in one line each: the file, what is wrong with it, what would mend it."""

from __future__ import annotations


class FullfieldError(Exception):
    """Base of every error a user can cause; its text is one line fit to be shown as it is."""


class InputError(FullfieldError):
    """An input cannot be used: it ends its own field, not the batch."""


class OutputError(FullfieldError):
    """The output cannot be written (no permission, disk full): it ends the batch."""


class UsageError(FullfieldError):
    """The request itself makes no sense: nothing is started."""


def one_line(error: BaseException) -> str:
    """
    Text of an exception as one line, never empty.

    Parameters
    ----------
    error : BaseException
        Any exception, a library's own included.

    Returns
    -------
    str
        Its text with line breaks folded, or the name of its type where it has none.
    """
    return " ".join(str(error).split()) or type(error).__name__
