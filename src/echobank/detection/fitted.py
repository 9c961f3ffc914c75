"""A bank with a fitted back-end and its thresholds: embeddings in, scores and decisions out."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from echobank.detection.backends import make_backend
from echobank.detection.backends.base import Backend, Float32, Float64
from echobank.detection.bank import Bank
from echobank.detection.comparable import require_comparable
from echobank.detection.decision import calibrate, decide
from echobank.detection.header import Scoring, ScoringSettings
from echobank.detection.leave_one_out import SelfScores
from echobank.detection.states import state_scores, states_of
from echobank.detection.threshold import Threshold
from echobank.errors import BankError, InputError

__all__ = ["FittedDetector", "ScoringSettings", "fit_detector", "make", "remembering", "thresholds_of"]


@dataclass(frozen=True)
class FittedDetector:
    """A detector of one machine.

    Attributes:
        bank: The healthy rows that it remembers.
        settings: How it scores.
        backend: The fitted back-end.
        own: Leave-one-out scores of the rows; `states` where states are left out.
        thresholds: One per domain, or one for all.
    """

    bank: Bank
    settings: ScoringSettings
    backend: Backend
    own: SelfScores
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
        """Return 0 or 1 per score, int8[Q]; the domain of the clips is taken as unknown."""
        return decide(scores, None, self.thresholds)


def make(scoring: Scoring) -> Backend:
    """Return the requested back-end, not fitted yet.

    Raises:
        ConfigError: Unknown back-end or parameter.
    """
    return make_backend(scoring.backend, k=scoring.k, metric=scoring.metric, params=scoring.params)


def fit_detector(bank: Bank, settings: ScoringSettings) -> FittedDetector:
    """Fit the back-end on the bank; take its leave-one-out scores and thresholds, where the bank has them, from there.

    A bank has them when it was trained with the very settings.

    Raises:
        BankError: The bank is too small for the settings, of one state where states are left out, or of levels that
            are to be compared by their direction.
        ConfigError: Unknown back-end or parameter.
        InputError: The false-alarm rate cannot be supported by this many clips.
    """
    if bank.header.provenance is not None:
        require_comparable(bank.header.provenance.encoder.name, settings)
    backend = make(settings).fit(bank)
    if bank.own and bank.header.scoring == settings and bank.header.thresholds:
        return FittedDetector(bank, settings, backend, bank.own, bank.header.thresholds)
    own, thresholds = _calibrated(bank, settings, backend)
    return FittedDetector(bank, settings, backend, own, thresholds)


def gives_way(settings: ScoringSettings) -> bool:
    """Return whether these are decisions as by default, which fall back to what the bank supports and say so."""
    return (settings.decision, settings.leave_out) == ("transport", "state")


def fallen_back(settings: ScoringSettings, thresholds: Sequence[Threshold]) -> str:
    """Return in words how the thresholds of a bank differ from the settings, empty where they do not."""
    if not gives_way(settings):
        return ""
    if any(threshold.method == "gamma" for threshold in thresholds):
        n = max(threshold.n for threshold in thresholds)
        return (
            f"{n} clips support no false-alarm rate of {settings.false_alarm_rate:g} by decision.method=transport: "
            "thresholds are those of gamma, which promises nothing"
        )
    if any(not threshold.states for threshold in thresholds):
        return (
            "the bank holds one operating state, or too few clips to leave one out: thresholds are found with single "
            "clips left out (decision.leave_out=clip), and a state that was never heard may alarm more often"
        )
    return ""


def _calibrated(bank: Bank, settings: ScoringSettings, backend: Backend) -> tuple[SelfScores, tuple[Threshold, ...]]:
    """Return leave-one-out scores and thresholds; those of the default fall back, see `fallen_back`."""
    scores = backend.self_scores()
    ways = [settings]
    if gives_way(settings):
        ways += [replace(settings, leave_out="clip"), replace(settings, decision="gamma", leave_out="clip")]
    for way in ways[:-1]:
        try:
            return _calibrated_as(way, bank, settings, scores)
        except (BankError, InputError):
            continue
    return _calibrated_as(ways[-1], bank, settings, scores)


def _calibrated_as(
    way: ScoringSettings, bank: Bank, settings: ScoringSettings, scores: Float64
) -> tuple[SelfScores, tuple[Threshold, ...]]:
    states = state_scores(bank, lambda: make(settings)) if way.leave_out == "state" else None
    return SelfScores(scores, states), thresholds_of(bank, scores if states is None else states, way)


def thresholds_of(bank: Bank, scores: Float64, settings: ScoringSettings) -> tuple[Threshold, ...]:
    """Return the thresholds from the scores float64[N] of the bank's rows, each or its state left out.

    Rows made by augmentation are remembered but do not calibrate: their scores are not those of new recordings.

    Raises:
        ConfigError: Unknown method.
        InputError: The false-alarm rate cannot be supported by this many clips.
    """
    genuine = bank.columns.genuine()
    states = states_of(bank)[genuine] if settings.leave_out == "state" else None
    return calibrate(scores[genuine], bank.domains[genuine], settings.decision, settings.false_alarm_rate, states)


def remembering(detector: FittedDetector) -> Bank:
    """Return the bank with how it was scored, its leave-one-out scores and its thresholds."""
    header = replace(detector.bank.header, scoring=detector.settings, thresholds=detector.thresholds)
    return replace(detector.bank, header=header, own=detector.own)
