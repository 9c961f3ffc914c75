"""Residual of principal components: what of a vector lies outside the directions in which the bank varies."""

from dataclasses import dataclass
from typing import Self

import numpy as np

from echobank.detection.backends.base import Float32, Float64, RowsOfBank
from echobank.detection.backends.downdate import residuals_without_own
from echobank.detection.backends.mahalanobis import principal_axes
from echobank.detection.backends.refit import LIMIT, refit_scores
from echobank.detection.bank import Bank
from echobank.detection.search import points
from echobank.errors import ConfigError


@dataclass
class Pca(RowsOfBank):
    """Length of the residual from the mean and the leading principal axes, then mean over bands.

    Leave-one-out: mean and axes are found again without the group of a row (`refit_scores`), or follow from those
    with it where there are many groups of one row each (`residuals_without_own`).

    Attributes:
        k: Not used.
        metric: "cosine" brings the vectors to unit length, "euclidean" takes them as they are.
        variance: Share of the variance that the leading axes explain, above 0, below 1.
    """

    k: int = 1
    metric: str = "cosine"
    variance: float = 0.9

    def __post_init__(self) -> None:
        if not 0 < self.variance < 1:
            raise ConfigError("impossible value of variance of back-end pca", value=self.variance, hint="0 to 1")

    def fit(self, bank: Bank) -> Self:
        """Find mean and axes of each band."""
        self.bank_ = bank
        exact = points(bank.vectors, self.metric)
        self.means_ = exact.mean(axis=0)
        self.axes_ = [self._leading(exact[:, h] - mean) for h, mean in enumerate(self.means_)]
        return self

    def score(self, embeddings: Float32) -> Float64:
        """Return float64[Q] of float32[Q, H, D]."""
        moved = points(embeddings, self.metric) - self.means_
        residuals = [moved[:, h] - moved[:, h] @ axes.T @ axes for h, axes in enumerate(self.axes_)]
        scores: Float64 = np.linalg.norm(residuals, axis=2).mean(axis=0)
        return scores

    def self_scores(self) -> Float64:
        """Return float64[N].

        Raises:
            BankError: The bank has one group only.
        """
        groups = self.bank_.groups
        if len(np.unique(groups)) < len(groups) or len(groups) <= LIMIT:
            return refit_scores(self, self.bank_)
        moved = points(self.bank_.vectors, self.metric) - self.means_
        scores = np.empty(moved.shape[:2])
        for h in range(moved.shape[1]):
            scatter, axes = principal_axes(moved[:, h])
            squares = np.einsum("nd,nd->n", moved[:, h], moved[:, h])
            scores[:, h] = residuals_without_own(scatter, moved[:, h] @ axes.T, squares, self.variance)
        return np.asarray(scores.mean(axis=1))

    def _leading(self, centred: Float64) -> Float64:
        scatter, axes = principal_axes(centred)
        explained = np.cumsum(scatter) / max(scatter.sum(), np.finfo(float).tiny)
        return axes[: int(np.searchsorted(explained, self.variance)) + 1]
