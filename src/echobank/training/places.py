"""Where a group of clips is heard: another recording behind it, noise, a frequency response, a level.

A place is drawn once per group and changes a little from clip to clip, so that clips of a group differ by what the
machine does more than by how they were taken.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from echobank.data.augment import mix_noise
from echobank.data.synthesis.signals import RATE
from echobank.errors import AudioError
from echobank.training.recordings import SoundFile, draw_recording, read_piece

Float32 = NDArray[np.float32]
Rng = np.random.Generator

_FILTER_POINTS = 8  # of the response, spread evenly over the logarithm of the frequency
_LOWEST_HZ = 50.0
_LARGEST = 0.999


@dataclass(frozen=True)
class PlaceSettings:
    """How places are drawn; ratios and levels are dB, drawn between the two.

    Attributes:
        mixing: Probability that another recording plays behind the group.
        snr: Ratio to that recording.
        noise: Probability of white noise.
        noise_snr: Ratio to the noise.
        filter: Probability of a frequency response.
        filter_db: Standard deviation of the response.
        level: Root mean square of a clip, dB of full scale.
        spread_db: Standard deviation of ratio and level from clip to clip.
    """

    mixing: float = 0.5
    snr: tuple[float, float] = (-5.0, 20.0)
    noise: float = 0.3
    noise_snr: tuple[float, float] = (10.0, 40.0)
    filter: float = 0.7
    filter_db: float = 6.0
    level: tuple[float, float] = (-45.0, -15.0)
    spread_db: float = 1.5


@dataclass(frozen=True)
class Place:
    """A place.

    Attributes:
        behind: Recording that plays behind, if any.
        snr: Ratio to it, dB.
        noise_snr: Ratio to white noise, dB; None is none.
        response: Response at points from 50 Hz to 8 kHz, dB; None is flat.
        level: dB of full scale.
        spread_db: How much ratio and level differ between clips, dB.
    """

    behind: SoundFile | None
    snr: float
    noise_snr: float | None
    response: NDArray[np.float64] | None
    level: float
    spread_db: float


def draw_place(recordings: Sequence[SoundFile], settings: PlaceSettings, rng: Rng) -> Place:
    """Return a place, its background one of the recordings."""
    behind = draw_recording(recordings, rng) if recordings and rng.random() < settings.mixing else None
    return Place(
        behind=behind,
        snr=float(rng.uniform(*settings.snr)),
        noise_snr=float(rng.uniform(*settings.noise_snr)) if rng.random() < settings.noise else None,
        response=settings.filter_db * rng.standard_normal(_FILTER_POINTS) if rng.random() < settings.filter else None,
        level=float(rng.uniform(*settings.level)),
        spread_db=settings.spread_db,
    )


def hear_at(place: Place, clip: Float32, rng: Rng) -> Float32:
    """Return a clip as it is heard at a place, float32[T] in (-1, 1); a silent one stays silent.

    Raises:
        AudioError: The recording behind it has become unreadable.
    """
    if place.behind is not None:
        snr = place.snr + place.spread_db * float(rng.standard_normal())
        clip = _mixed(clip, read_piece(place.behind, len(clip), rng), snr, rng)
    if place.response is not None:
        clip = _filtered(clip, place.response)
    if place.noise_snr is not None:
        clip = _mixed(clip, rng.standard_normal(len(clip)).astype(np.float32), place.noise_snr, rng)
    level = 10.0 ** ((place.level + place.spread_db * float(rng.standard_normal())) / 20.0)
    power = float(np.sqrt(np.mean(np.square(clip, dtype=np.float64))))
    heard = clip * (level / power) if power > 0 else clip
    return np.clip(heard, -_LARGEST, _LARGEST).astype(np.float32)


def _mixed(clip: Float32, other: Float32, snr_db: float, rng: Rng) -> Float32:
    try:
        return mix_noise(clip, other, snr_db, rng)
    except AudioError:
        return clip  # a silent stretch has no ratio


def _filtered(clip: Float32, response: NDArray[np.float64]) -> Float32:
    """Return the clip through a smooth response without phase, as another microphone and room would give."""
    hz = np.fft.rfftfreq(len(clip), 1 / RATE)
    points = np.geomspace(_LOWEST_HZ, RATE / 2, len(response))
    decibels = np.interp(np.log(np.maximum(hz, _LOWEST_HZ)), np.log(points), response)
    filtered = np.fft.irfft(np.fft.rfft(clip) * 10.0 ** (decibels / 20.0), n=len(clip))
    return np.asarray(filtered, dtype=np.float32)
