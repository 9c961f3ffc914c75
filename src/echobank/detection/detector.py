"""A bank with a fitted back-end and its thresholds: embeddings in, scores and decisions out."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from echobank.detection.backends import make_backend
from echobank.detection.backends.base import Backend, Float32, Float64
from echobank.detection.bank import Bank
from echobank.detection.decision import Threshold, calibrate, decide
from echobank.errors import BankError


@dataclass(frozen=True)
class ScoringSettings:
    """How a bank is scored and when a score is called anomalous; the config's `scoring` and `decision`, and k."""

    backend: str = "knn"
    metric: str = "cosine"
    k: int = 3
    params: Mapping[str, Any] = field(default_factory=dict)
    decision: str = "gamma"
    false_alarm_rate: float = 0.1


@dataclass(frozen=True)
class FittedDetector:
    """A detector of one machine.

    Attributes:
        bank: What it remembers.
        settings: How it scores.
        backend: The fitted back-end.
        self_scores: Leave-one-out score of each bank row, float64[N].
        thresholds: One a domain, or one for all.
    """

    bank: Bank
    settings: ScoringSettings
    backend: Backend
    self_scores: Float64
    thresholds: tuple[Threshold, ...]

    def score(self, embeddings: Float32) -> Float64:
        """Return anomaly scores float64[Q] of embeddings float32[Q, H, D]; larger is more anomalous.

        Raises:
            BankError: The embeddings have another shape than the bank's.
        """
        if embeddings.shape[1:] != self.bank.vectors.shape[1:]:
            raise BankError(
                "the embeddings do not fit the bank",
                value=(embeddings.shape[1:], self.bank.vectors.shape[1:]),
                hint="use the encoder and pooling that made the bank",
            )
        return self.backend.score(embeddings)

    def decide(self, scores: Float64) -> NDArray[np.int8]:
        """Return 0 or 1 a score, int8[Q]; the domain of the clips is taken as unknown."""
        return decide(scores, None, self.thresholds)


def fit_detector(bank: Bank, settings: ScoringSettings) -> FittedDetector:
    """Fit the back-end on the bank, score the bank by leave-one-out, and set the thresholds.

    Rows made by augmentation are remembered but do not calibrate: their scores are not those of new recordings.

    Raises:
        BankError: The bank is too small for the settings.
        ConfigError: Unknown back-end or parameter.
        InputError: The false-alarm rate cannot be supported by this many clips.
    """
    backend = make_backend(settings.backend, k=settings.k, metric=settings.metric, params=settings.params)
    backend.fit(bank)
    self_scores = backend.self_scores()
    genuine = np.array([not row.augmentation for row in bank.rows])
    thresholds = calibrate(self_scores[genuine], bank.domains[genuine], settings.decision, settings.false_alarm_rate)
    return FittedDetector(bank, settings, backend, self_scores, thresholds)


def calibration_facts(detector: FittedDetector) -> dict[str, Any]:
    """Return the settings, thresholds and leave-one-out scores as plain values, for the header of the bank."""
    return {
        "scoring": {**asdict(detector.settings), "params": dict(detector.settings.params)},
        "thresholds": [asdict(threshold) for threshold in detector.thresholds],
        "self_scores": [float(score) for score in detector.self_scores],
    }
