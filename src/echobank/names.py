"""Names of files as text that everything can hold.

A file system keeps bytes. Where they are not UTF-8, Python's text has lone surrogates in their place, which no encoder
takes. Inside, names stay as they are, so that the files are found again; what leaves the program passes through here.
"""

import json
from typing import Any


def printable(text: str) -> str:
    r"""Return text that UTF-8 can hold: a byte 0xfc of a name that is not UTF-8 becomes the six letters \udcfc."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def to_json(value: Any, encoding: str = "utf-8") -> str:
    """Return a value as JSON on one line that an encoding can hold; what it cannot is escaped as JSON escapes it."""
    text = json.dumps(value, ensure_ascii=False)
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return json.dumps(value)
    return text
