"""The terminal, for commands with torch and without."""

import sys
from collections.abc import Iterable
from typing import TypeVar

from rich.console import Console
from rich.markup import escape
from rich.progress import track

Item = TypeVar("Item")

# a file or a pipe has no width to keep to, and a table wrapped in it cannot be read by a program; names of classes and
# files may have brackets, which are no markup
console = Console(width=None if sys.stdout.isatty() else 1000, markup=False)


def tracked(items: Iterable[Item], what: str, total: int | None = None) -> Iterable[Item]:
    """The same items, with a bar that shows how many have passed; none in a file, where it would leave an empty line.

    Args:
        items: to go through.
        what: what the bar is called.
        total: how many there are, where they do not say.
    """
    bar = escape(what)  # which is read as markup, whatever the console says
    return track(items, bar, total=total, console=console, transient=True, disable=not console.is_terminal)
