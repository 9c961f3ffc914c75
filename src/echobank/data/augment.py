"""Changed copies of healthy clips for the bank: factory noise at a set ratio, and shifted pitch.

Pure functions on samples. What comes out depends on the samples, the change and the generator alone.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import soxr
from numpy.typing import NDArray

from echobank.errors import AudioError, InputError

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]

_FRAME_SECONDS = 0.064
_TOLERANCE_SECONDS = 0.020
_SEMITONES = 12.0


@dataclass(frozen=True)
class Augmentation:
    """One way of changing a clip.

    Attributes:
        kind: "snr" mixes noise in, "pitch" shifts the pitch.
        amount: Signal-to-noise ratio in dB, or semitones.
    """

    kind: Literal["snr", "pitch"]
    amount: float

    @property
    def label(self) -> str:
        """The change in words that a bank row keeps, such as "snr=10"."""
        return f"{self.kind}={self.amount:g}"

    def apply(self, samples: Float32, sample_rate: int, noises: Sequence[Float32], rng: np.random.Generator) -> Float32:
        """Return the changed clip, float32[T] like `samples`.

        Args:
            samples: The clip, float32[T].
            sample_rate: Rate in Hz of the clip and the noises.
            noises: Noise recordings, float32[T2] each; one is drawn. Only "snr" uses them.
            rng: Where randomness comes from; see `generator`.

        Raises:
            AudioError: As `mix_noise` and `pitch_shift`.
            InputError: "snr" without noises.
        """
        if self.kind == "pitch":
            return pitch_shift(samples, self.amount, sample_rate)
        if not noises:
            raise InputError("there is no noise recording to mix in", value=self.label)
        return mix_noise(samples, noises[int(rng.integers(len(noises)))], self.amount, rng)


def plan(snr: Sequence[float], shifts: Sequence[float], has_noise: bool) -> tuple[Augmentation, ...]:
    """Return one change per value: ratios in dB (only where there is noise to mix in), then semitones."""
    noisy = [Augmentation("snr", float(value)) for value in snr] if has_noise else []
    return (*noisy, *(Augmentation("pitch", float(value)) for value in shifts))


def generator(seed: int, sha256: str, label: str) -> np.random.Generator:
    """Return the generator of one changed clip, the same whatever the file order and the number of workers.

    Args:
        seed: Seed of the run.
        sha256: Hash of the clip.
        label: `Augmentation.label`.
    """
    digest = hashlib.sha256(f"{seed}\0{sha256}\0{label}".encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:16], "big"))


def mix_noise(clip: Float32, noise: Float32, snr_db: float, rng: np.random.Generator) -> Float32:
    """Return the clip with noise added at an exact ratio of mean powers, float32[T].

    The noise starts at a random place and is repeated when it is shorter than the clip. The clip itself is
    never rescaled, so its level stays what the encoder would have heard; the sum may therefore exceed 1, which
    is harmless in floating point and would only clip if it were written to a fixed-point file.

    Args:
        clip: float32[T].
        noise: float32[T2].
        snr_db: Ratio of the clip's mean power to that of the noise mixed in, dB.
        rng: Draws the offset.

    Raises:
        AudioError: The clip or the noise is empty, silent or not finite: the ratio is not defined.
    """
    _power(clip, "clip")
    _power(noise, "noise")
    spare = len(noise) - len(clip)
    start = int(rng.integers(spare + 1 if spare >= 0 else len(noise)))
    piece = np.take(noise, np.arange(start, start + len(clip)), mode="wrap")
    ratio = _power(clip, "clip") / _power(piece, "noise")
    gain = np.sqrt(ratio / 10.0 ** (snr_db / 10.0))
    mixed: Float32 = (clip + gain * piece.astype(np.float64)).astype(np.float32)
    return mixed


def pitch_shift(clip: Float32, semitones: float, sample_rate: int) -> Float32:
    """Return the clip with its pitch moved by a factor 2^(semitones / 12), float32[T] of the same length.

    The clip is stretched by splicing (WSOLA) and played back faster or slower by band-limited resampling.
    Content that leaves the band is lost; impacts stay sharp, a few are repeated or left out at a splice.

    Args:
        clip: float32[T].
        semitones: Positive is up.
        sample_rate: Rate in Hz.

    Raises:
        AudioError: The clip is empty or holds a sample that is not finite.
    """
    if not clip.size or not np.isfinite(clip).all():
        raise AudioError("cannot shift the pitch of a clip that is empty or not finite")
    factor = 2.0 ** (semitones / _SEMITONES)
    if semitones == 0 or len(clip) < _FRAME_SECONDS * sample_rate * 2:
        stretched = clip.astype(np.float64)
    else:
        stretched = _stretch(clip.astype(np.float64), factor, sample_rate)
    if semitones != 0:
        stretched = soxr.resample(stretched, factor * sample_rate, float(sample_rate), quality="HQ")
    shifted = np.zeros(len(clip), dtype=np.float32)
    count = min(len(clip), len(stretched))
    shifted[:count] = stretched[:count]
    return shifted


def _stretch(x: Float64, factor: float, sample_rate: int) -> Float64:
    """Return `x` lasting `factor` times as long, at the same pitch.

    WSOLA: Verhelst and Roelands, ICASSP 1993. Frames are copied on end while the place they come from is within
    the tolerance of the place they stand for; only then does one jump back, to where the waveform fits best.
    """
    hop = round(_FRAME_SECONDS * sample_rate / 2)
    reach = round(_TOLERANCE_SECONDS * sample_rate)
    length = int(np.ceil(len(x) * factor)) + hop
    padded = np.pad(x, (hop + reach, 4 * hop + reach))
    window = 0.5 - 0.5 * np.cos(np.pi * np.arange(2 * hop) / hop)
    out = np.zeros(length + 4 * hop)
    place = hop + reach
    for start in range(0, length + hop, hop):
        ideal = round((start - hop) / factor) + hop + reach
        ideal = max(reach, min(ideal, len(padded) - 3 * hop - reach))
        drift = place - ideal
        if abs(drift) > reach:
            low = ideal - reach if drift > 0 else ideal
            place = low + _best_fit(padded[low : low + reach + 2 * hop], padded[place : place + 2 * hop])
        out[start : start + 2 * hop] += window * padded[place : place + 2 * hop]
        place = min(place + hop, len(padded) - 2 * hop)
    return out[hop : hop + length]


def _best_fit(region: Float64, template: Float64) -> int:
    """Return the lag in `region` at which it resembles `template` most, by normalised correlation."""
    energy = np.cumsum(np.concatenate(([0.0], region**2)))
    span = energy[len(template) :] - energy[: len(energy) - len(template)]
    similarity = np.correlate(region, template, mode="valid") / np.sqrt(span + 1e-12)
    return int(np.argmax(similarity))


def _power(samples: Float32, name: str) -> float:
    power = float(np.mean(np.square(samples, dtype=np.float64))) if samples.size else 0.0
    if not power > 0 or not np.isfinite(power):
        raise AudioError(f"the {name} is empty, silent or not finite, so its noise ratio is not defined")
    return power
