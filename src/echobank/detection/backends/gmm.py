"""Gaussian mixture with diagonal covariances."""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from echobank.detection.backends.base import Float32, Float64, RowsOfBank
from echobank.detection.backends.convergence import without_notices
from echobank.detection.backends.refit import refit_scores
from echobank.detection.bank import Bank
from echobank.detection.search import points
from echobank.errors import BankError

_FLOOR = 1e-3  # least variance of a component, as a share of the mean variance of the bank


@dataclass
class Gmm(RowsOfBank):
    """Negative log-likelihood, then mean over bands.

    Leave-one-out: the mixture is fitted again without the group of a row (`refit_scores`).

    Attributes:
        k: Not used.
        metric: "cosine" brings the vectors to unit length, "euclidean" takes them as they are.
        components: Of the mixture; at most one per row.
        seed: Of its starting point.
    """

    k: int = 1
    metric: str = "cosine"
    components: int = 4
    seed: int = 0

    def fit(self, bank: Bank) -> Self:
        """Fit a mixture per band.

        Raises:
            BankError: The bank has one row.
        """
        if len(bank) < 2:
            raise BankError("a Gaussian mixture needs two rows", value=len(bank), hint="add healthy recordings")
        self.bank_ = bank
        exact = points(bank.vectors, self.metric)
        self.models_ = [self._fit(exact[:, h]) for h in range(exact.shape[1])]
        return self

    def score(self, embeddings: Float32) -> Float64:
        """Return float64[Q] of float32[Q, H, D]."""
        exact = points(embeddings, self.metric)
        scores: Float64 = -np.mean([m.score_samples(exact[:, h]) for h, m in enumerate(self.models_)], axis=0)
        return scores

    def self_scores(self) -> Float64:
        """Return float64[N].

        Raises:
            BankError: The bank has one group only, or one row is left.
        """
        return refit_scores(self, self.bank_)

    def _fit(self, rows: Float64) -> Any:
        from sklearn.mixture import GaussianMixture

        different = len(np.unique(rows, axis=0))
        model = GaussianMixture(
            min(self.components, different),
            covariance_type="diag",
            reg_covar=max(_FLOOR * float(rows.var(axis=0).mean()), 1e-12),
            random_state=self.seed,
        )
        with without_notices():  # close enough for a score
            return model.fit(rows)
