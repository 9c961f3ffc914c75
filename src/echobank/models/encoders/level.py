"""Level: how loud a clip is, in the quantities that a vibration or acoustics engineer knows. No weights.

Encoders whose tokens are compared by their direction hardly hear loudness; this one hears nothing else. Each quantity
is a card of its own, so that they can be joined: `soundnet+level+level_octaves`. All values are in decibels, or turned
into them, so that their differences have one unit: the distance of two clips is in dB (Euclidean).

| card | values | unit |
|---|---|---|
| `level` | RMS of the clip | dB of full scale |
| `level_octaves` | RMS in octave bands, 31.5 Hz to 4 kHz (IEC 61260-1:2014, base ten) | dB of full scale |
| `level_thirds` | RMS in third-octave bands, 25 Hz to 6.3 kHz (the same standard) | dB of full scale |
| `level_percentiles` | L10, L50, L90: exceeded in 10, 50, 90 % of frames of 125 ms (ISO 1996-1) | dB of full scale |
| `level_crest` | crest factor, peak over RMS | dB |
| `level_kurtosis` | fourth moment over squared second moment; 4.8 dB for Gaussian noise, 1.8 dB for a sine | dB |
| `level_flatness` | spectral flatness, geometric over arithmetic mean of the power spectrum; 0 is white | dB |

It hears the recording at its own rate, since resampling would take away what lies near and above half the encoder's
rate. A band that reaches above half the rate of the recording is not measured and reads -200 dB.

Level is worth as much as the gain of the microphone is constant.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from echobank.errors import ConfigError
from echobank.models.encoder import EncoderFacts, Feature, Float32, Sourced
from echobank.models.logmel import SAMPLE_RATE, audible
from echobank.models.pooling import Pooling
from echobank.models.weights.cards import Card

Float64 = NDArray[np.float64]

FLOOR_DB = -200.0  # of digital silence; far below the rounding noise of 24 bits (-149 dB)
FRAMES_PER_SECOND = 8  # of 125 ms: the time constant "fast" of sound level meters (IEC 61672-1)
_ENGINE = "numpy at the rate of the recording"
_OCTAVE_RATIO = 10**0.3  # IEC 61260-1:2014, 5.2
_OCTAVES = ("31.5 Hz", "63 Hz", "125 Hz", "250 Hz", "500 Hz", "1 kHz", "2 kHz", "4 kHz")
_THIRDS = (
    *(
        "25 Hz",
        "31.5 Hz",
        "40 Hz",
        "50 Hz",
        "63 Hz",
        "80 Hz",
        "100 Hz",
        "125 Hz",
        "160 Hz",
        "200 Hz",
        "250 Hz",
        "315 Hz",
    ),
    *("400 Hz", "500 Hz", "630 Hz", "800 Hz", "1 kHz", "1.25 kHz", "1.6 kHz", "2 kHz", "2.5 kHz", "3.15 kHz", "4 kHz"),
    *("5 kHz", "6.3 kHz"),
)


@dataclass(frozen=True)
class Quantity:
    """What a card measures.

    Attributes:
        labels: Name of each value, as explanations write it.
        measure: Samples float64[T] and their rate in Hz to values float64[D], dB.
    """

    labels: tuple[str, ...]
    measure: Callable[[Float64, int], Float64]


class Level:
    """One token per clip, float32[1, 1, D]: the values of a quantity over the whole clip.

    Args:
        name: One of `QUANTITIES`.
    """

    hears_source = True

    def __init__(self, name: str) -> None:
        self.labels = QUANTITIES[name].labels
        self._measure = QUANTITIES[name].measure
        self.facts = EncoderFacts(name, "", SAMPLE_RATE, "", len(self.labels), 1, 1, "fp32", _ENGINE, 0.0)

    @property
    def band_edges_hz(self) -> Float64:
        """The one band of the token grid, float64[1, 2], Hz."""
        return np.array([[0.0, SAMPLE_RATE / 2]])

    def tokens(self, waveforms: Sequence[Feature], layer: int | None = None) -> list[Float32]:
        """Return float32[1, 1, D] for each clip; a waveform float32[T] without its source is at 16 kHz.

        Raises:
            AudioError: No samples, or one that is not finite.
            ConfigError: A layer other than 1.
        """
        if layer not in (None, 1):
            raise ConfigError("no such layer", value=layer, hint="level has layer 1 only")
        sounds = [x if isinstance(x, Sourced) else Sourced(x, x, SAMPLE_RATE) for x in waveforms]
        measured = [self._measure(audible(x.source, 1).astype(np.float64), x.source_rate) for x in sounds]
        return [values.astype(np.float32)[None, None] for values in measured]

    def embed(
        self, features: Sequence[Feature], poolings: Sequence[Pooling], layer: int | None = None
    ) -> list[list[Float32]]:
        """Return the values as they are, float32[1, D], whatever the pooling: a clip has one token."""
        return [[token[0]] * len(poolings) for token in self.tokens(features, layer)]


def load(card: Card | None, path: Path | None, device: str, precision: str, compile: bool) -> Level:
    """Return the encoder of a card; it has no weights and one arithmetic, so nothing else is asked of the arguments."""
    del path, device, precision, compile
    return Level(card.name if card else "level")


def band_edges_hz(centres: int, per_octave: int, highest: int) -> Float64:
    """Return the edges between bands, float64[centres + 1], Hz: `1000 G^((x +- 1/2) / b)` (IEC 61260-1:2014, 5.4).

    Args:
        centres: Number of bands.
        per_octave: Bands per octave, b.
        highest: Number x of the highest band; that of 1 kHz is 0.
    """
    numbers = np.arange(highest - centres + 1, highest + 2) - 0.5
    edges: Float64 = 1000 * _OCTAVE_RATIO ** (numbers / per_octave)
    return edges


def decibels(power: Float64 | float) -> Float64:
    """Return 10 log10, at least `FLOOR_DB`."""
    return np.asarray(10 * np.log10(np.maximum(power, 10 ** (FLOOR_DB / 10))))


def _rms(x: Float64, rate: int) -> Float64:
    return decibels(np.array([np.mean(x**2)]))


def _bands(edges: Float64) -> Callable[[Float64, int], Float64]:
    """Return what measures the power between edges, by Parseval's theorem over the whole clip."""

    def measure(x: Float64, rate: int) -> Float64:
        power = np.abs(np.fft.rfft(x)) ** 2 / len(x) ** 2
        power[1 : (len(x) + 1) // 2] *= 2  # one-sided; the constant and half the rate have no twin
        lines = np.arange(len(power)) * (rate / len(x))
        sums = np.concatenate(([0.0], np.cumsum(power)))[np.searchsorted(lines, edges)]
        return decibels(np.where(edges[1:] <= rate / 2, np.diff(sums), 0.0))

    return measure


def _percentiles(x: Float64, rate: int) -> Float64:
    size = rate // FRAMES_PER_SECOND
    frames = x[: len(x) // size * size].reshape(-1, size) if len(x) >= size else x[None]
    levels = decibels(np.mean(frames**2, axis=1))
    return np.asarray(np.quantile(levels, (0.9, 0.5, 0.1)))


def _crest(x: Float64, rate: int) -> Float64:
    power = np.mean(x**2)
    return decibels(np.array([np.max(x**2) / power if power > 0 else 1.0]))


def _kurtosis(x: Float64, rate: int) -> Float64:
    moved = x - x.mean()
    variance = np.mean(moved**2)
    return decibels(np.array([np.mean(moved**4) / variance**2 if variance > 0 else 1.0]))


def _flatness(x: Float64, rate: int) -> Float64:
    """Return the flatness of Welch's spectrum: Hann windows of 125 ms, half overlapping, without the constant."""
    size = rate // FRAMES_PER_SECOND
    padded = x if len(x) >= size else np.resize(x, size)
    windows = np.lib.stride_tricks.sliding_window_view(padded, size)[:: size // 2]
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(size) / size)
    power = (np.abs(np.fft.rfft(windows * hann, axis=1)) ** 2).mean(axis=0)[1:]
    if power.max() <= 0:
        return np.zeros(1)
    return np.array([np.mean(decibels(power / power.max())) - decibels(np.mean(power) / power.max())])


QUANTITIES: Mapping[str, Quantity] = {
    "level": Quantity(("level",), _rms),
    "level_octaves": Quantity(tuple(f"octave of {name}" for name in _OCTAVES), _bands(band_edges_hz(8, 1, 2))),
    "level_thirds": Quantity(tuple(f"third octave of {name}" for name in _THIRDS), _bands(band_edges_hz(25, 3, 8))),
    "level_percentiles": Quantity(("L10", "L50", "L90"), _percentiles),
    "level_crest": Quantity(("crest factor",), _crest),
    "level_kurtosis": Quantity(("kurtosis",), _kurtosis),
    "level_flatness": Quantity(("spectral flatness",), _flatness),
}
