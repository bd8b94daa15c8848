"""The command as it was typed, for the records of what it did."""

import shlex
from collections.abc import Sequence
from contextvars import ContextVar

_TYPED: ContextVar[tuple[str, ...]] = ContextVar("typed", default=())


def remember_command(argv: Sequence[str]) -> None:
    """Remember the words behind `wheretolook`.

    Args:
        argv: as the shell gave them.
    """
    _TYPED.set(tuple(argv))


def typed_command() -> str:
    """The command, quoted for a shell; empty where a function was called from Python.

    Example:
        >>> remember_command(["run", "--out", "my runs"])
        >>> typed_command()
        "wheretolook run --out 'my runs'"
        >>> remember_command([])
    """
    return shlex.join(["wheretolook", *_TYPED.get()]) if _TYPED.get() else ""
