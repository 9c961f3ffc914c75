"""A way of scoring of your own in thirty lines: distance to the median of the bank, in units of its spread."""

from dataclasses import dataclass

import numpy as np
from pump import RATE, pump

from echobank import Detector, register_backend
from echobank.detection.backends.base import RowsOfBank


@dataclass
class MedianDistance(RowsOfBank):
    """Root mean square of robust z-scores over the dimensions of an embedding."""

    k: int = 1
    metric: str = "euclidean"
    floor: float = 1e-3  # least spread, a parameter: --set scoring.params.floor=0.01

    def fit(self, bank):
        """Remember median and spread, float64[H, D], of the bank's float32[N, H, D]."""
        self.bank_ = bank
        self.center_ = np.median(bank.vectors, axis=0).astype(np.float64)
        self.spread_ = self._spread(bank.vectors, self.center_)
        return self

    def score(self, embeddings):
        """Return float64[Q] of float32[Q, H, D]; each depends on the bank and that clip alone."""
        return self._distance(embeddings, self.center_, self.spread_)

    def self_scores(self):
        """Return float64[N]: each row against the bank without its group, so that thresholds are honest."""
        scores = np.empty(len(self.bank_.vectors))
        for group in np.unique(self.bank_.groups):
            own = self.bank_.groups == group
            center = np.median(self.bank_.vectors[~own], axis=0).astype(np.float64)
            scores[own] = self._distance(
                self.bank_.vectors[own], center, self._spread(self.bank_.vectors[~own], center)
            )
        return scores

    def _spread(self, vectors, center):
        return np.maximum(1.4826 * np.median(np.abs(vectors - center), axis=0), self.floor)

    def _distance(self, vectors, center, spread):
        return np.sqrt((((vectors - center) / spread) ** 2).mean(axis=(1, 2)))


register_backend("median_distance", MedianDistance)

if __name__ == "__main__":
    for backend in ("knn", "ldn", "median_distance"):
        settings = ["model.embedding=logmel_stats", f"scoring.backend={backend}"]
        detector = Detector("pump", seconds=2.0, settings=settings).fit_samples(map(pump, range(24)), RATE)
        healthy = [v.p_value for seed in range(100, 110) for v in detector.score_samples(pump(seed), RATE)]
        odd = [v.p_value for seed in range(110, 120) for v in detector.score_samples(pump(seed, squeal=0.01), RATE)]
        print(f"{backend:>16}: median p-value {np.median(healthy):.2f} healthy, {np.median(odd):.2f} with a squeal")
