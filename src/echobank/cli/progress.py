"""Progress bars for people: shown on a terminal after two seconds, never in a log file."""

import sys
from collections.abc import Iterable
from typing import TypeVar

T = TypeVar("T")


def bar(items: Iterable[T], *, total: int, label: str) -> Iterable[T]:
    """Yield `items` and draw a bar on stderr when it is a terminal; a `progress.Progress`."""
    if not sys.stderr.isatty():
        return items
    from tqdm import tqdm

    return tqdm(items, total=total, desc=label, delay=2, leave=False, dynamic_ncols=True)
