"""How long-running work reports its progress: a wrapper around an iterable, silent by default.

The package never prints. The command line passes a wrapper that draws a bar.
"""

from collections.abc import Iterable
from typing import Protocol, TypeVar

T = TypeVar("T")


class Progress(Protocol):
    """Wraps an iterable of `total` items and shows, or does not show, how far it is."""

    def __call__(self, items: Iterable[T], *, total: int, label: str) -> Iterable[T]:
        """Yield `items` unchanged."""
        ...


def silent(items: Iterable[T], *, total: int, label: str) -> Iterable[T]:
    """Show nothing."""
    del total, label
    return items
