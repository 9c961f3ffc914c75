"""A back-end that looks at one part of a joined embedding (`models.joined`): `knn@soundnet`."""

import dataclasses
from dataclasses import dataclass
from typing import Any, Self

from echobank.detection.backends.base import Backend, Float32, Float64, Int64
from echobank.detection.bank import Bank
from echobank.errors import BankError, WeightsError
from echobank.models.encoders.joined import JOINT, JoinedFacts
from echobank.models.registry import find_card


@dataclass
class Part:
    """The score of a back-end on the slice that one encoder made. Leave-one-out is that of the back-end.

    A part whose values have a unit, such as levels in dB, is compared as it is (Euclidean), whatever the metric.

    Attributes:
        backend: Unfitted.
        name: Name of the encoder, or an alias of its card.
    """

    backend: Backend
    name: str

    def fit(self, bank: Bank) -> Self:
        """Find the part and fit the back-end on it.

        Raises:
            BankError: The bank has no such part, or is too small for the back-end.
        """
        self.start_, self.bands_, self.dimension_ = place(bank, self.name)
        self.fitted_ = self._measured().fit(dataclasses.replace(bank, vectors=self.taken(bank.vectors)))
        return self

    def score(self, embeddings: Float32) -> Float64:
        """Return float64[Q] of float32[Q, 1, D of all parts]."""
        return self.fitted_.score(self.taken(embeddings))

    def self_scores(self) -> Float64:
        """Return float64[N].

        Raises:
            BankError: The bank without a group is too small for the back-end.
        """
        return self.fitted_.self_scores()

    @property
    def has_rows(self) -> bool:
        """As of the back-end."""
        return self.backend.has_rows

    def nearest(self, embeddings: Float32) -> Int64:
        """Return the nearest row of each query in this part, int64[Q]."""
        return self.fitted_.nearest(self.taken(embeddings))

    def ranked(self, embedding: Float32) -> Int64:
        """Return the rows from the nearest to the farthest in this part, int64[N]."""
        return self.fitted_.ranked(self.taken(embedding[None])[0])

    def others(self) -> tuple[Float64, Int64]:
        """Return distance and number of the nearest row of another group of each row, in this part."""
        return self.fitted_.others()

    def _measured(self) -> Backend:
        """Return an unfitted back-end with the metric that suits the part."""
        if not unit_of(self.name):
            return self.backend
        unfitted: Any = self.backend
        measured: Backend = dataclasses.replace(unfitted, metric="euclidean")
        return measured

    def taken(self, vectors: Float32) -> Float32:
        """Return float32[N, H, D] of the part."""
        size = self.bands_ * self.dimension_
        return vectors[:, 0, self.start_ : self.start_ + size].reshape(-1, self.bands_, self.dimension_)


def place(bank: Bank, name: str) -> tuple[int, int, int]:
    """Return where the part begins, its bands H and its dimension D, from what made the bank."""
    made = bank.header.provenance
    names = made.encoder.name.split(JOINT) if made else ["?"]
    if made is None or not isinstance(made.encoder, JoinedFacts):
        raise BankError(
            f"no joined encoder made this bank: it has no part {name!r}",
            value=names[0],
            hint=f"leave out @{name}, or join encoders as in model.embedding=beats_base+spectrum",
        )
    wanted = name if name in names else _canonical(name)
    if wanted not in names:
        raise BankError("the bank has no such part", value=name, hint=f"its parts are {', '.join(names)}")
    start = 0
    for other in names:
        facts = made.encoder.parts[other]
        bands = facts.bands if made.pooling.bands else 1
        if other == wanted:
            break
        start += bands * facts.dimension
    return start, bands, facts.dimension


def unit_of(name: str) -> str:
    """Return the unit of the values of an encoder, "" where they have none or the encoder has no card."""
    try:
        return find_card(name).unit
    except WeightsError:
        return ""


def _canonical(name: str) -> str:
    try:
        return find_card(name).name
    except WeightsError:
        return name
