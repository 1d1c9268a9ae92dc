"""Prepare docstrings for the reference."""

import re
from typing import Any

import griffe


class Docstrings(griffe.Extension):
    """Show Sphinx roles as plain code, and the section ``Example`` as code in colours."""

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        """Change the docstring of one object as it is loaded."""
        if obj.docstring:
            text = re.sub(r":\w+:`~?([^`]+)`", r"`\1`", obj.docstring.value)
            obj.docstring.value = re.sub(r"^Example:$", "Examples:", text, flags=re.M)
