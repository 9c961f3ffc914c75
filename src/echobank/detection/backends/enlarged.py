"""Any back-end on a bank whose target rows were made more."""

from dataclasses import dataclass
from typing import Literal, Self

from echobank.detection import backends
from echobank.detection.backends.base import Float32, Float64, RowsOfBank
from echobank.detection.backends.refit import refit_scores
from echobank.detection.bank import Bank
from echobank.detection.enlarge import memmixup, smote
from echobank.errors import ConfigError


@dataclass
class Enlarged(RowsOfBank):
    """Score of another back-end on the bank and mixtures of its rows (`echobank.detection.enlarge`).

    Leave-one-out: the mixtures are made again without the group of a row (`refit_scores`).

    Attributes:
        k: Given to the back-end.
        metric: Given to the back-end, and says which rows are near.
        backend: Name of the back-end.
        method: "memmixup" or "smote".
        seed: Of SMOTE.
    """

    k: int = 1
    metric: str = "cosine"
    backend: str = "knn"
    method: Literal["memmixup", "smote"] = "memmixup"
    seed: int = 0

    def __post_init__(self) -> None:
        if self.backend == "enlarged":
            raise ConfigError("enlarged cannot enlarge itself", value=self.backend)
        self._made = backends.make_backend(self.backend, k=self.k, metric=self.metric, params={})

    def fit(self, bank: Bank) -> Self:
        """Enlarge the bank and fit the back-end on it.

        Raises:
            BankError: The bank has no target rows, too few for the method, or is too small for the back-end.
        """
        self.bank_ = bank
        if self.method == "smote":
            larger = smote(bank, metric=self.metric, seed=self.seed)
        else:
            larger = memmixup(bank, metric=self.metric)
        self.fitted_ = self._made.fit(larger)
        return self

    def score(self, embeddings: Float32) -> Float64:
        """Return float64[Q] of float32[Q, H, D]."""
        return self.fitted_.score(embeddings)

    def self_scores(self) -> Float64:
        """Return float64[N], of the bank's own rows only.

        Raises:
            BankError: The bank without a group is too small.
        """
        return refit_scores(self, self.bank_)
