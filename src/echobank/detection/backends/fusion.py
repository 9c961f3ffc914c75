"""Fusion: the z-scores of several back-ends, and their least, mean or largest.

MIN fusion is that of arXiv 2606.19269. A mean or a maximum lets a second witness raise an alarm that the first one did
not see: how loud a machine is, beside an encoder that cannot hear loudness. A minimum needs all of them alarmed.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal, Self

import numpy as np

from echobank.detection import backends
from echobank.detection.backends.base import Backend, Float32, Float64, Int64
from echobank.detection.backends.refit import refit_scores
from echobank.detection.bank import Bank
from echobank.errors import ConfigError

_EXACT = 32  # groups up to which even the normalisation is learned again without a row's group
_QUARTILE = 0.6745  # of the standard normal distribution: the distance from its median to its upper quartile


@dataclass
class Fusion(ABC):
    """What the fusions share: members, their z-scores, and leave-one-out.

    A z-score says by how much a score exceeds the leave-one-out scores of the member's own bank. It is plain, in
    deviations from the mean, or robust: `(s - median) / ((upper quartile - median) / 0.6745)`, which the few rows that
    are far from all others do not widen.

    Leave-one-out: with up to 32 groups everything is fitted again without the group of a row. With more, the members'
    scores are exact and the normalisation is by the leave-one-out scores of the other groups, which still had the
    group in their banks: a difference of the order of 1 / N.

    Attributes:
        k: Given to the members that name none.
        metric: Given to the members that name none.
        members: Back-ends joined by "+", each with its parameters and, where encoders are joined, the part that it
            looks at: `ldn@soundnet:K=16+knn@level`.
        z: "plain" or "robust".
    """

    k: int = 1
    metric: str = "cosine"
    members: str = "knn+mahalanobis+ldn+pca"
    z: Literal["plain", "robust"] = "robust"

    def __post_init__(self) -> None:
        self._made = [self._member(text) for text in self.members.split("+")]

    @staticmethod
    @abstractmethod
    def combine(z_scores: Float64) -> Float64:
        """Return float64[Q] of z-scores float64[members, Q]."""

    def fit(self, bank: Bank) -> Self:
        """Fit the members and take their leave-one-out scores.

        Raises:
            BankError: The bank is too small for a member, or to score itself.
        """
        self.bank_ = bank
        self.members_ = [member.fit(bank) for member in self._made]
        self.own_ = np.stack([member.self_scores() for member in self.members_])
        return self

    def score(self, embeddings: Float32) -> Float64:
        """Return float64[Q] of float32[Q, H, D]."""
        return self._fused(np.stack([member.score(embeddings) for member in self.members_]), self.own_)

    def self_scores(self) -> Float64:
        """Return float64[N].

        Raises:
            BankError: The bank without a group is too small for a member, or to score itself.
        """
        groups = self.bank_.groups
        if groups.max() < _EXACT:
            return refit_scores(self, self.bank_)
        scores = np.empty(len(groups))
        for group in np.unique(groups):
            out = groups == group
            scores[out] = self._fused(self.own_[:, out], self.own_[:, ~out])
        return scores

    @property
    def has_rows(self) -> bool:
        """Whether a member has rows."""
        return self.witness.has_rows

    @property
    def witness(self) -> Backend:
        """The first member that has rows; the first where none has."""
        return next((member for member in self._made if member.has_rows), self._made[0])

    def nearest(self, embeddings: Float32) -> Int64:
        """Return the nearest row of each query, as the first member that has rows sees it, int64[Q]."""
        return self.witness.nearest(embeddings)

    def ranked(self, embedding: Float32) -> Int64:
        """Return the rows from the nearest to the farthest, as the same member sees it, int64[N]."""
        return self.witness.ranked(embedding)

    def others(self) -> tuple[Float64, Int64]:
        """Return distance and number of the nearest row of another group of each row, as the same member sees it."""
        return self.witness.others()

    def normalisation(self) -> tuple[Float64, Float64]:
        """Return what is taken from the score of each member and what it is then divided by, float64[members, 1]."""
        return self._normalisation(self.own_)

    def _normalisation(self, own: Float64) -> tuple[Float64, Float64]:
        centre, spread = _plain(own) if self.z == "plain" else _robust(own)
        return centre, np.maximum(spread, np.finfo(float).tiny)

    def _fused(self, scores: Float64, own: Float64) -> Float64:
        """Return float64[Q] of scores float64[members, Q] and leave-one-out scores float64[members, N]."""
        centre, spread = self._normalisation(own)
        return self.combine((scores - centre) / spread)

    def _member(self, text: str) -> Backend:
        name, params = backends.parse_backend(text)
        if name.partition("@")[0] in FUSIONS:
            raise ConfigError("a fusion cannot be a member of a fusion", value=self.members)
        common = {"k": self.k, "metric": self.metric, **params}
        k, metric = common.pop("k"), common.pop("metric")
        if type(k) is not int:
            raise ConfigError("k of a member must be a whole number", value=text)
        return backends.make_backend(name, k=k, metric=metric, params=common)


@dataclass
class MinFusion(Fusion):
    """Least z-score: a clip is as anomalous as the most forgiving member finds it (arXiv 2606.19269)."""

    z: Literal["plain", "robust"] = "plain"

    @staticmethod
    def combine(z_scores: Float64) -> Float64:
        """Return the least over members."""
        least: Float64 = z_scores.min(axis=0)
        return least


@dataclass
class MeanFusion(Fusion):
    """Mean z-score: every member has the same say, and nothing is weighted by what a test clip looks like."""

    @staticmethod
    def combine(z_scores: Float64) -> Float64:
        """Return the mean over members."""
        mean: Float64 = z_scores.mean(axis=0)
        return mean


@dataclass
class MaxFusion(Fusion):
    """Largest z-score: a clip is as anomalous as the strictest member finds it."""

    @staticmethod
    def combine(z_scores: Float64) -> Float64:
        """Return the largest over members."""
        largest: Float64 = z_scores.max(axis=0)
        return largest


FUSIONS = ("min_fusion", "mean_fusion", "max_fusion")


def _plain(own: Float64) -> tuple[Float64, Float64]:
    return own.mean(axis=1, keepdims=True), own.std(axis=1, keepdims=True)


def _robust(own: Float64) -> tuple[Float64, Float64]:
    """Return median and spread per member; the plain ones of a member whose upper half is all of one value."""
    median, upper = np.quantile(own, (0.5, 0.75), axis=1, keepdims=True)
    spread = (upper - median) / _QUARTILE
    flat = spread <= 0
    if flat.any():
        mean, deviation = _plain(own)
        median, spread = np.where(flat, mean, median), np.where(flat, deviation, spread)
    return median, spread
