"""Colours, where a person reads: on a terminal, and not where $NO_COLOR is set (https://no-color.org)."""

import os
import sys

_CODES = {"red": 31, "green": 32, "yellow": 33}


def coloured(text: str, colour: str) -> str:
    """Return text in a colour, or as it is where standard output is no terminal or colours are not wanted."""
    plain = not sys.stdout.isatty() or os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    return text if plain else f"\x1b[{_CODES[colour]}m{text}\x1b[0m"
