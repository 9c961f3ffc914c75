"""MIN fusion (arXiv 2606.19269): a clip is as anomalous as the most forgiving of several back-ends finds it."""

from dataclasses import dataclass
from typing import Self

import numpy as np

from echobank.detection import backends
from echobank.detection.backends.base import Backend, Float32, Float64
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
        k: Given to the members that name none.
        metric: Given to the members that name none.
        members: Back-ends joined by "+", each with its parameters and, where encoders are joined, the part that it
            looks at: `ldn@soundnet:K=16+mahalanobis@spectrum:metric=euclidean`.
    """

    k: int = 1
    metric: str = "cosine"
    members: str = "knn+mahalanobis+ldn+pca"

    def __post_init__(self) -> None:
        self._made = [self._member(text) for text in self.members.split("+")]

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

    def _member(self, text: str) -> Backend:
        name, params = backends.parse_backend(text)
        if name.partition("@")[0] == "min_fusion":
            raise ConfigError("min_fusion cannot be a member of itself", value=self.members)
        common = {"k": self.k, "metric": self.metric, **params}
        k, metric = common.pop("k"), common.pop("metric")
        if type(k) is not int:
            raise ConfigError("k of a member must be a whole number", value=text)
        return backends.make_backend(name, k=k, metric=metric, params=common)


def _least(scores: Float64, own: Float64) -> Float64:
    """Return the least z over members, float64[Q], of scores float64[members, Q] and own ones float64[members, N]."""
    deviation = np.maximum(own.std(axis=1, keepdims=True), np.finfo(float).tiny)
    least: Float64 = ((scores - own.mean(axis=1, keepdims=True)) / deviation).min(axis=0)
    return least
