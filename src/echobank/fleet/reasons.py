"""Reasons: why recordings could not be used, how often each reason occurs, and one example of each."""

from collections.abc import Iterator
from dataclasses import dataclass, field

KINDS = 100  # different reasons that are counted separately
OTHER = "other reasons"


@dataclass
class Reasons:
    """Counts by reason, of bounded size.

    Attributes:
        counts: Reason to how many.
        examples: Reason to one recording.
    """

    counts: dict[str, int] = field(default_factory=dict)
    examples: dict[str, str] = field(default_factory=dict)

    def add(self, name: str, reason: str, count: int = 1) -> None:
        """Count a recording.

        Args:
            name: Its full name, which a reason may begin with.
            reason: Why it cannot be used.
            count: How many of the kind.
        """
        kind = reason.removeprefix(name).removeprefix(": ")
        if kind not in self.counts and len(self.counts) >= KINDS:
            kind = OTHER
        self.counts[kind] = self.counts.get(kind, 0) + count
        self.examples.setdefault(kind, name)

    def merge(self, other: "Reasons") -> None:
        """Add the counts of another."""
        for reason, count in other.counts.items():
            self.add(other.examples[reason], reason, count)

    def __len__(self) -> int:
        return sum(self.counts.values())

    def __iter__(self) -> Iterator[tuple[int, str, str]]:
        """Yield count, reason and example, the most frequent first."""
        for reason, count in sorted(self.counts.items(), key=lambda item: (-item[1], item[0])):
            yield count, reason, self.examples[reason]
