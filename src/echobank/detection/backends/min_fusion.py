"""MIN fusion (arXiv 2606.19269): a clip is as anomalous as the most forgiving of several back-ends finds it."""

from dataclasses import dataclass
from typing import Self

import numpy as np

from echobank.detection import backends
from echobank.detection.backends.base import Float32, Float64
from echobank.detection.backends.refit import refit_scores
from echobank.detection.bank import Bank
from echobank.errors import ConfigError

_EXACT = 32  # groups up to which even the normalisation is learned again without a row's group


@dataclass
class MinFusion:
    """Least over members of the score in deviations from the mean of that member's leave-one-out scores.

    Leave-one-out: with up to 32 groups everything is fitted again without the group of a row. With more, the members'
    scores are exact and mean and deviation are of the leave-one-out scores of the other groups, which still had the
    group in their banks: a difference of the order of 1 / N.

    Attributes:
        k: Given to the members.
        metric: Given to the members.
        members: Names of back-ends, joined by "+".
    """

    k: int = 1
    metric: str = "cosine"
    members: str = "knn+mahalanobis+ldn+pca"

    def __post_init__(self) -> None:
        names = self.members.split("+")
        if "min_fusion" in names:
            raise ConfigError("min_fusion cannot be a member of itself", value=self.members)
        self._made = [backends.make_backend(name, k=self.k, metric=self.metric, params={}) for name in names]

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
        return _least(np.stack([member.score(embeddings) for member in self.members_]), self.own_)

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
            scores[out] = _least(self.own_[:, out], self.own_[:, ~out])
        return scores


def _least(scores: Float64, own: Float64) -> Float64:
    """Return the least z over members, float64[Q], of scores float64[members, Q] and own ones float64[members, N]."""
    deviation = np.maximum(own.std(axis=1, keepdims=True), np.finfo(float).tiny)
    least: Float64 = ((scores - own.mean(axis=1, keepdims=True)) / deviation).min(axis=0)
    return least
