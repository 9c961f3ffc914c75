"""Explain: which seconds and which band of a window are odd, what is nearest, and what the score is without them.

The window is compared, mel bin by mel bin, with the mean spectrum of the healthy windows that lie nearest in the
encoder's own space. Two checks ask the encoder itself: each odd region is brought to its healthy level and the
window scored again (band occlusion), and the window's tokens are compared with those of the nearest healthy
recording, where that is still to be found.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from echobank.data.windows import Window
from echobank.detection.bank import Bank
from echobank.errors import AudioError, BankError, InputError
from echobank.machines.impulses import Train
from echobank.machines.listener import Heard
from echobank.machines.machine import Machine, own_machine
from echobank.machines.quantities import Outside, outside
from echobank.machines.regions import Region, excess_db, find_regions, is_known, without
from echobank.machines.sentences import sentences_of
from echobank.machines.verdict import Verdict
from echobank.machines.window_sources import feature_of
from echobank.models.encoder import Feature, Float32, Sourced
from echobank.models.feeding import tokens_of
from echobank.storage import sha256_file

Float64 = NDArray[np.float64]
_NEIGHBOURS = 3


@dataclass(frozen=True)
class Finding:
    """An odd region and what the score of the window would be without it.

    Attributes:
        region: Where it is.
        score_without: The score without it.
        p_value: Of a region that is louder than the rest of the window: the share of healthy windows in which as much
            stands out. None for one that is unlike similar healthy sound.
    """

    region: Region
    score_without: float
    p_value: float | None = None


@dataclass(frozen=True)
class Sound:
    """A stretch of audio that can be heard.

    Attributes:
        samples: float32[T].
        rate: Their rate, Hz.
        mel: Natural-log mel power, float32[F, M].
        feature: What the encoder takes of it: the samples, with their source where it hears the source.
    """

    samples: Float32
    rate: int
    mel: Float32
    feature: Feature


@dataclass(frozen=True)
class Explanation:
    """Why a window got its score.

    Attributes:
        verdict: The verdict on the window.
        threshold: The score above which it would be anomalous.
        findings: Its odd regions, the oddest first; times are from the beginning of the window.
        level_db: Level above that of the nearest healthy window, dB.
        sound: The window.
        nearest: The nearest healthy window; None when its recording is not where it was, or has changed.
        token_oddness: Cosine distance of each token to the nearest token of the same band in the nearest healthy
            window, in units of the usual distance inside that window, float64[Pt, Pf]; None as `nearest`.
        token_seconds: Hop between tokens.
        impulses: Clicks or knocks, with times from the beginning of the window; None where there are none.
        impulses_p_value: Share of healthy windows that are as impulsive.
        quantities: Measured levels that lie outside all that healthy recordings had, where the bank hears level.
    """

    verdict: Verdict
    threshold: float
    findings: tuple[Finding, ...]
    level_db: float
    sound: Sound
    nearest: Sound | None
    token_oddness: Float64 | None
    token_seconds: float
    impulses: Train | None = None
    impulses_p_value: float = 1.0
    quantities: tuple[Outside, ...] = ()

    @property
    def sentences(self) -> tuple[str, ...]:
        """What was found, in plain words."""
        return tuple(sentences_of(self))


def explain(machine: Machine, path: Path | str, start: float | None = None) -> Explanation:
    """Explain one window of a recording.

    Args:
        machine: The machine.
        path: The recording.
        start: Where the window begins, seconds; None takes the one with the highest score.

    Raises:
        AudioError: The recording cannot be used.
        BankError: The bank keeps no spectra.
        InputError: No window begins there.
    """
    (heard,) = machine.listener.hear([Path(path)], profiles=False)
    if heard.error:
        raise AudioError(heard.error.removeprefix(f"{path}: "), where=path)
    verdicts = machine.judge(heard)
    return explain_window(machine, heard, verdicts, _which(verdicts, start, Path(path)))


def explain_window(machine: Machine, heard: Heard, verdicts: Sequence[Verdict], index: int) -> Explanation:
    """Explain one window of a recording that was heard and judged."""
    verdict, vector = verdicts[index], heard.vectors[index]
    sound = _sound(machine, heard.path, float(heard.starts[index]))
    rows = _neighbours(machine, vector)
    profiles = _profiles(machine)
    expected = _mixture(profiles[rows])
    moments, train = machine.flags.named(sound.mel, sound.samples, sound.rate) if machine.flags else ([], None)
    known = [region for region, _ in moments]
    regions = [it for it in find_regions(excess_db(sound.mel, expected), expected) if not is_known(it, known)]
    found = [*moments, *((region, None) for region in regions)]
    findings = tuple(Finding(region, _score_without(machine, sound, region), p) for region, p in found)
    nearest = _healthy(machine, rows[0])
    impulses, share = train or (None, 1.0)
    return Explanation(
        verdict,
        machine.threshold,
        findings,
        _loudness(sound.mel.mean(axis=0)) - _loudness(profiles[rows[0], 0]),
        sound,
        nearest,
        _token_oddness(machine, sound, nearest) if nearest else None,
        machine.listener.encoder.facts.token_seconds,
        impulses,
        share,
        outside(machine, vector),
    )


def _which(verdicts: Sequence[Verdict], start: float | None, path: Path) -> int:
    if start is None:
        return int(np.argmax([verdict.score or 0.0 for verdict in verdicts]))
    for index, verdict in enumerate(verdicts):
        if verdict.start is not None and abs(verdict.start - start) < 0.5e-3:
            return index
    near = min((verdict.start or 0.0 for verdict in verdicts), key=lambda s: abs(s - start))
    raise InputError("no window begins there", value=start, where=path, hint=f"the nearest begins at {near:g} s")


def _profiles(machine: Machine) -> Float32:
    try:
        return machine.bank.extras["profile"]
    except KeyError as error:
        raise BankError("a bank of an older kind, without spectra to explain with", hint="fit it again") from error


def _neighbours(machine: Machine, vector: Float32) -> list[int]:
    """Return the nearest bank rows of up to three groups, the nearest first."""
    groups, rows = machine.bank.groups, []
    seen: set[int] = set()
    for row in machine.backend.ranked(vector):
        if int(groups[row]) not in seen:
            seen.add(int(groups[row]))
            rows.append(int(row))
        if len(rows) == _NEIGHBOURS:
            break
    return rows


def _mixture(profiles: Float32) -> Float32:
    """Return mean and deviation float32[2, M] of the frames of several windows from theirs, float32[n, 2, M]."""
    mean = profiles[:, 0].mean(axis=0)
    variance = (profiles[:, 1] ** 2).mean(axis=0) + profiles[:, 0].var(axis=0)
    return np.stack((mean, np.sqrt(variance)))


def _sound(machine: Machine, path: Path, start: float) -> Sound:
    for window in machine.listener.windows(path):
        if abs(window.start - start) < 1e-6:
            return _made(machine, window)
    raise AudioError("changed while it was read", where=path)


def _made(machine: Machine, window: Window) -> Sound:
    return Sound(window.samples, window.sample_rate, machine.listener.logmel(window.samples), feature_of(window))


def locate(bank: Bank, row: int) -> Path | None:
    """Return where the recording of a bank row lies now, or None when it is not where it was, or has changed."""
    for root in own_machine(bank).roots:
        path = Path(root) / bank.rows[row].file
        try:
            if path.is_file() and sha256_file(path) == bank.rows[row].sha256:
                return path
        except OSError:
            continue
    return None


def _healthy(machine: Machine, row: int) -> Sound | None:
    path = locate(machine.bank, row)
    if path is None:
        return None
    try:
        return _sound(machine, path, machine.bank.rows[row].start)
    except AudioError:
        return None


def _score_without(machine: Machine, sound: Sound, region: Region) -> float:
    samples = without(sound.samples, sound.rate, region)
    feature: Feature = samples
    if isinstance(sound.feature, Sourced):
        rate = sound.feature.source_rate
        feature = Sourced(samples, without(sound.feature.source, rate, region), rate)
    vectors, _, _ = machine.listener.embed([feature], profiles=False)
    return float(machine.backend.score(vectors)[0])


def _token_oddness(machine: Machine, sound: Sound, nearest: Sound) -> Float64:
    encoder, layer = machine.listener.encoder, machine.listener.layer
    query, healthy = tokens_of([sound.feature, nearest.feature], encoder, layer)
    oddness = np.zeros(query.shape[:2])
    for band in range(query.shape[1]):
        a, b = (_unit(tokens[:, band].astype(np.float64)) for tokens in (query, healthy))
        inside = 1 - b @ b.T
        np.fill_diagonal(inside, np.inf)
        usual = float(np.median(inside.min(axis=1))) if len(b) > 1 else 0.0
        oddness[:, band] = (1 - a @ b.T).min(axis=1) / max(usual, 1e-9)
    return oddness


def _unit(tokens: Float64) -> Float64:
    unit: Float64 = tokens / np.maximum(np.linalg.norm(tokens, axis=1, keepdims=True), 1e-12)
    return unit


def _loudness(log_power: Float32) -> float:
    """Return the level of a mean log-mel spectrum, dB."""
    return float(10 * np.log10(np.exp(log_power.astype(np.float64)).sum()))
