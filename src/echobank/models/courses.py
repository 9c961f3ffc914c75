"""Courses: how far each source is on its way through the scheduler, and the pieces that wait for others."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from echobank.models.encoder import Float32
from echobank.models.sources import Feedable, Piece

Outputs = list[Float32]  # what one piece comes to


@dataclass
class Course:
    """Progress of one source.

    Attributes:
        position: Its place among the sources.
        source: The source.
        facts: Facts of its pieces, in order.
        outputs: Outputs of its pieces, in order; None while they are not there.
        error: Why it cannot be used; empty when it can.
    """

    position: int
    source: Feedable
    facts: list[Any] = field(default_factory=list)
    outputs: list[Outputs | None] = field(default_factory=list)
    error: str = ""
    pieces: Iterator[Piece] | None = None
    read: bool = False  # to its end
    owed: int = 0  # pieces that are not embedded yet
    left: "Shelf" = field(default_factory=lambda: Shelf())

    @property
    def finished(self) -> bool:
        """Whether everything that comes of the source is there."""
        return self.read and not self.owed


Item = tuple[Course, int, Piece]  # a piece, and where its outputs go


@dataclass
class Shelf:
    """Pieces that wait for others of their length."""

    lengths: dict[int, list[Item]] = field(default_factory=dict)

    def __len__(self) -> int:
        return sum(map(len, self.lengths.values()))

    def add(self, item: Item, size: int) -> list[Item]:
        """Put a piece on the shelf; return the batch that it completes, or an empty list."""
        length = len(item[2].features)
        items = self.lengths.setdefault(length, [])
        items.append(item)
        return self.lengths.pop(length) if len(items) == size else []

    def oldest(self) -> list[Item]:
        """Take away the length that has waited longest."""
        return self.lengths.pop(next(iter(self.lengths)))

    @property
    def since(self) -> int:
        """Position of the source that has waited longest."""
        return next(iter(self.lengths.values()))[0][0].position
