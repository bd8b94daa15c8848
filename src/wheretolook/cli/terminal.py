"""The terminal, for commands with torch and without."""

import sys
from collections.abc import Iterable
from typing import TypeVar

from rich.console import Console
from rich.markup import escape
from rich.progress import track

T = TypeVar("T")

# a file or a pipe has no width to keep to, and a table wrapped in it cannot be read by a program; names of classes and
# files may have brackets, which are no markup
console = Console(width=None if sys.stdout.isatty() else 1000, markup=False)


def passing(things: Iterable[T], what: str, total: int | None = None) -> Iterable[T]:
    """Pass things through, with a bar that shows how many have passed; in a file or a pipe nothing is left of it.

    Args:
        things: as many as there are.
        what: what the bar is called.
        total: how many there are, where that cannot be asked of them.
    """
    return track(things, escape(what), total=total, console=console, transient=True, disable=not console.is_terminal)
