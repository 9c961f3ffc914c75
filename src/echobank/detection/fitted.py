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
from echobank.detection.states import state_scores, states_of
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
    leave_out: str = "clip"

    def make(self) -> Backend:
        """Return the unfitted back-end.

        Raises:
            ConfigError: Unknown back-end or parameter.
        """
        return make_backend(self.backend, k=self.k, metric=self.metric, params=self.params)


@dataclass(frozen=True)
class FittedDetector:
    """A detector of one machine.

    Attributes:
        bank: What it remembers.
        settings: How it scores.
        backend: The fitted back-end.
        self_scores: Leave-one-out score of each bank row, float64[N].
        thresholds: One a domain, or one for all.
        state_scores: Score of each row against the bank without its operating state, float64[N]; None where
            `leave_out` is clip.
    """

    bank: Bank
    settings: ScoringSettings
    backend: Backend
    self_scores: Float64
    thresholds: tuple[Threshold, ...]
    state_scores: Float64 | None = None

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

    Raises:
        BankError: The bank is too small for the settings, or of one state where states are left out.
        ConfigError: Unknown back-end or parameter.
        InputError: The false-alarm rate cannot be supported by this many clips.
    """
    backend = settings.make().fit(bank)
    own = backend.self_scores()
    unheard = state_scores(bank, settings.make) if settings.leave_out == "state" else None
    thresholds = thresholds_of(bank, own if unheard is None else unheard, settings)
    return FittedDetector(bank, settings, backend, own, thresholds, unheard)


def thresholds_of(bank: Bank, scores: Float64, settings: ScoringSettings) -> tuple[Threshold, ...]:
    """Return the thresholds from the scores float64[N] of the bank's rows, each or its state left out.

    Rows made by augmentation are remembered but do not calibrate: their scores are not those of new recordings.

    Raises:
        ConfigError: Unknown method.
        InputError: The false-alarm rate cannot be supported by this many clips.
    """
    genuine = np.array([not row.augmentation for row in bank.rows])
    states = states_of(bank)[genuine] if settings.leave_out == "state" else None
    return calibrate(scores[genuine], bank.domains[genuine], settings.decision, settings.false_alarm_rate, states)


def calibration_facts(detector: FittedDetector) -> dict[str, Any]:
    """Return the settings, thresholds and scores of the bank's rows as plain values, for the header of the bank."""
    facts = {
        "scoring": {**asdict(detector.settings), "params": dict(detector.settings.params)},
        "thresholds": [asdict(threshold) for threshold in detector.thresholds],
        "self_scores": [float(score) for score in detector.self_scores],
    }
    if detector.state_scores is not None:
        facts["state_scores"] = [float(score) for score in detector.state_scores]
    return facts
