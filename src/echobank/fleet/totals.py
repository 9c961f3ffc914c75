"""Totals: what a dataset holds, by machine."""

from dataclasses import dataclass, field

from echobank.fleet.dataset import VectorDataset
from echobank.fleet.shards import Counts


@dataclass
class Totals:
    """What a dataset holds.

    Attributes:
        machines: Counts by machine.
        days: Partitions: days of a machine.
        shards: Files.
        size: Their bytes.
    """

    machines: dict[str, Counts] = field(default_factory=dict)
    days: int = 0
    shards: int = 0
    size: int = 0

    @property
    def counts(self) -> Counts:
        """Counts of all machines."""
        return sum(self.machines.values(), Counts())


def totals_of(dataset: VectorDataset, key: str) -> Totals:
    """Return what a dataset holds of one kind of embeddings, read from the footers of its shards.

    Raises:
        InputError: A shard is damaged.
    """
    totals = Totals()
    last = ("", "")
    for machine, day, file, counts in dataset.totals(key):
        totals.machines[machine] = totals.machines.get(machine, Counts()) + counts
        totals.days += (machine, day) != last
        last = (machine, day)
        totals.shards += 1
        totals.size += file.size
    return totals
