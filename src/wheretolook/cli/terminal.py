"""The terminal, for commands with torch and without."""

import sys

from rich.console import Console

# a file or a pipe has no width to keep to, and a table wrapped in it cannot be read by a program; names of classes and
# files may have brackets, which are no markup
console = Console(width=None if sys.stdout.isatty() else 1000, markup=False)
