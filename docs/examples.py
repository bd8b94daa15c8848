"""The examples of docstrings, as the handbook shows them: as code that was run, not as quotations in quotations."""

from typing import Any

import griffe


class Examples(griffe.Extension):
    """A section that is headed `Example:` is one of `Examples:`, the heading that griffe knows."""

    def on_instance(self, *, obj: griffe.Object, **_: Any) -> None:
        """Called for each module, class, function and attribute."""
        if obj.docstring is not None:
            obj.docstring.value = obj.docstring.value.replace("\nExample:\n", "\nExamples:\n")
