"""The bank's scoring as a scikit-learn outlier detector over embeddings.

It passes `check_estimator` but for the checks in `NOT_APPLICABLE`, each with its reason.
"""

from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, OutlierMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from echobank.detection.backends import make_backend
from echobank.detection.bank import Bank, Row
from echobank.detection.calibration import calibrate

Float64 = NDArray[np.float64]

_MEMORY = "a remembered row is at distance 0 from itself, so `predict` finds no outlier in the X that was fitted; "
NOT_APPLICABLE = {
    "check_outliers_train": _MEMORY + "`fit_predict` judges each row without itself and does",
    "check_outliers_fit_predict": _MEMORY + "`fit_predict` does, and so differs from `fit` and `predict`",
}


class BankDetector(OutlierMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn is not typed
    """Nearest-neighbour anomaly detection over embeddings, with a conformal threshold.

    Args:
        backend: Way of scoring.
        metric: "cosine" or "euclidean".
        k: Neighbours; more than there are rows takes all but one.
        params: Parameters of the back-end.
        contamination: False-alarm rate on healthy data that `predict` keeps to; when so few rows do not support
            it, the smallest rate that they do.

    Attributes:
        backend_: Fitted back-end.
        calibration_: Leave-one-out scores of the rows.
        offset_: `decision_function` is `score_samples` less this.
        n_features_in_: Size of an embedding.
    """

    def __init__(
        self,
        backend: str = "knn",
        metric: str = "euclidean",
        k: int = 1,
        params: dict[str, Any] | None = None,
        contamination: float = 0.05,
    ) -> None:
        self.backend = backend
        self.metric = metric
        self.k = k
        self.params = params
        self.contamination = contamination

    def fit(self, X: Any, y: Any = None, groups: Any = None) -> Self:
        """Remember healthy embeddings.

        Args:
            X: float[N, D].
            y: Ignored.
            groups: N labels; rows of one group never count as each other's neighbour. None makes each its own.
        """
        data = validate_data(self, X, dtype=np.float32, ensure_min_samples=2)
        labels = [f"row {i}" for i in range(len(data))] if groups is None else [str(group) for group in groups]
        rows = tuple(Row(f"{i}", "embeddings", group=label) for i, label in enumerate(labels))
        k = min(self.k, len(data) - 1)
        backend = make_backend(self.backend, k=k, metric=self.metric, params=self.params or {})
        self.backend_ = backend.fit(Bank(data[:, None, :], rows))
        self.calibration_ = calibrate(self.backend_.self_scores(), labels)
        rate = max(self.contamination, self.calibration_.smallest_rate)
        self.offset_ = -self.calibration_.threshold(rate)
        return self

    def fit_predict(self, X: Any, y: Any = None, groups: Any = None) -> NDArray[np.int64]:
        """Fit, and return 1 or -1 for each row judged without the rows of its own group, int64[N]."""
        self.fit(X, groups=groups)
        return np.where(self.backend_.self_scores() > -self.offset_, -1, 1).astype(np.int64)

    def score_samples(self, X: Any) -> Float64:
        """Return the anomaly score with its sign turned, float64[Q]: larger is more normal, as scikit-learn wants."""
        check_is_fitted(self)
        data = validate_data(self, X, dtype=np.float32, reset=False)
        scores: Float64 = -self.backend_.score(data[:, None, :])
        return scores

    def decision_function(self, X: Any) -> Float64:
        """Return `score_samples` less the threshold, float64[Q]; negative is anomalous."""
        return self.score_samples(X) - self.offset_

    def predict(self, X: Any) -> NDArray[np.int64]:
        """Return 1 for normal and -1 for anomalous, int64[Q]."""
        return np.where(self.decision_function(X) < 0, -1, 1).astype(np.int64)

    def p_values(self, X: Any) -> Float64:
        """Return conformal p-values, float64[Q]; small is anomalous."""
        return self.calibration_.p_values(-self.score_samples(X))
