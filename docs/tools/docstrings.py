"""An extension of Griffe: reads sections of docstrings that begin on the line of their name."""

from __future__ import annotations

import re
from typing import Any

import griffe

SECTION = re.compile(r"^(Returns|Raises|Source|Attributes): +(\S.*(?:\n(?!\w+:)(?! *$).+)*)", re.M)


class Sections(griffe.Extension):
    """Gives `Returns: text`, `Raises: text` and `Source: text` a paragraph of their own, and escapes ">=" in `Args`."""

    def on_instance(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        """Changes the docstring of an object that was read from source."""
        if obj.docstring:
            text = SECTION.sub(r"\n**\1**: \2\n", obj.docstring.value)
            obj.docstring.value = re.sub(r"^( +\w+: )>", r"\1\\>", text, flags=re.M)  # ">= 1" is no quotation
