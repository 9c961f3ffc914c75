"""Flags: what a window has although its score may not say so, an odd band or impulses, at a rate that is calibrated.

Each window has one number per flag, in deviations of healthy windows. For `odd_band` it is the largest, over mel bins
and two ways of standing out, of a level in dB minus its mean over the bank, divided by its deviation there (1 dB or
more): a rise within the window (`swings`), and the difference of the whole window from the nearest healthy one, less
the median over bins. A way counts in bins where it takes the level 5 dB or more off that of the nearest healthy window.
For `impulses` it is the largest sum, over octave bands, of the same of the third highest peak of the envelope and of
the logarithm of the spectral kurtosis.

The numbers of the bank's own windows, each with means and deviations of the windows of other groups and its nearest
neighbour there, are calibrated like scores (`detection.calibration`): a window is flagged above the threshold of the
rate. A flag is not a decision.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from echobank.detection.bank import Bank
from echobank.detection.calibration import Calibration, calibrate
from echobank.machines.impulses import BANDS, Peaks, Train, peaks_of, train_of
from echobank.machines.listener import Heard
from echobank.machines.regions import Region
from echobank.machines.stretches import find_stretches
from echobank.machines.swings import Swings
from echobank.machines.traits import IMPULSES as IMPULSES_KEPT
from echobank.machines.traits import SWINGS, split
from echobank.machines.verdict import IMPULSES, ODD_BAND, Oddity
from echobank.models.encoder import Float32
from echobank.models.logmel import mel_edges_hz

Float64 = NDArray[np.float64]

USUAL_FLAG_RATE = 0.02
LEAST_DB = 5.0  # what explain calls a difference
_LEAST_SPREAD = np.array([1.0, 1.0])[:, None]  # dB: rises, differences of whole windows
MOST_NAMED = 0.6  # p-value up to which explain names a moment: it finds more than is flagged
_PEAK = 1.25  # deviations above the mean of the third peak from which a peak is an impulse
_IRREGULAR = 0.2  # likewise of impulses at no regular interval
_LEAST_PEAK_SPREAD = np.array([0.5, 0.1])[:, None]  # dB; of the natural logarithm
_MOST_ROWS = 10_000  # of a larger bank every second row is taken, or every third, ...


@dataclass(frozen=True)
class Usual:
    """What healthy windows do: mean and deviation over the bank, float64[ways, bins]."""

    mean: Float64
    spread: Float64

    def deviations(self, values: Float64) -> Float64:
        """Return how many deviations values float64[..., ways, bins] lie above the mean."""
        return np.asarray((values - self.mean) / self.spread)


@dataclass(frozen=True)
class Flags:
    """What raises the flags of a machine.

    Attributes:
        swings: Of `_ways`, float64[2, M].
        peaks: Of `_impulsive`, float64[2, BANDS].
        levels: Mean level of each row of the bank, float32[N, M], dB, as `Swings.mean`.
        bands: Calibration of `odd_band`.
        impulses: Calibration of `impulses`.
        rate: The rate in force, of each flag.
    """

    swings: Usual
    peaks: Usual
    levels: Float32
    bands: Calibration
    impulses: Calibration
    rate: float

    def judge(self, heard: Heard, index: int, near: int) -> tuple[Oddity, ...]:
        """Return what is odd about a window of a recording; nothing where its traits were not taken.

        Args:
            heard: The recording.
            index: Which window.
            near: The nearest row of the bank.
        """
        if not heard.traits.shape[1]:
            return ()
        swings, peaks = split(heard.traits[index])
        start, seconds = float(heard.starts[index]), float(heard.lengths[index])
        found = (self._band(swings, near, start, seconds), self._train(peaks, start))
        return tuple(oddity for oddity in found if oddity)

    def _band(self, swings: Swings, near: int, start: float, seconds: float) -> Oddity | None:
        healthy = self.levels[near][None]
        ways, counted = _ways(swings.kept[None], healthy)
        odd = np.where(counted, self.swings.deviations(ways), 0.0)[0]
        score = float(odd.max())
        if score <= self.bands.threshold(self.rate):
            return None
        way, peak = np.unravel_index(int(odd.argmax()), odd.shape)
        height = ways[0, way]
        first, last = _around(np.abs(height) >= abs(height[peak]) / 2, int(peak))
        edges = mel_edges_hz()
        begin, end, above = float(swings.start[peak]), float(swings.end[peak]), float(height[peak])
        if way:
            begin, end, above = 0.0, seconds, float(swings.mean[peak] - healthy[0, peak])
        return Oddity(
            ODD_BAND,
            round(start + begin, 2),
            round(start + min(end, seconds), 2),
            round(float(edges[first, 0]), 1),
            round(float(edges[last, 2]), 1),
            round(above, 1),
            share_of(self.bands, score),
        )

    def _train(self, peaks: Peaks, start: float) -> Oddity | None:
        odd = self.peaks.deviations(_impulsive(peaks.kept[None])).sum(axis=1)[0]
        score = float(odd.max())
        if score <= self.impulses.threshold(self.rate):
            return None
        train = self._clearest(peaks, odd)
        return None if train is None else oddity_of(train, start, share_of(self.impulses, score))

    def named(
        self, mel: Float32, samples: Float32, rate: int
    ) -> tuple[list[tuple[Region, float]], tuple[Train, float] | None]:
        """Return moments, and impulses, that explain names, each with its p-value; more than are flagged.

        Args:
            mel: Natural-log mel power of the window, float32[F, M].
            samples: The window at the encoder's rate, float32[T].
            rate: That rate, Hz.
        """
        found = find_stretches(mel, self.swings.mean[0], self.swings.spread[0])
        moments = [(region, share_of(self.bands, region.weight)) for region in found]
        peaks = peaks_of(samples, rate)
        odd = self.peaks.deviations(_impulsive(peaks.kept[None])).sum(axis=1)[0]
        share, train = share_of(self.impulses, float(odd.max())), self._clearest(peaks, odd)
        clear = train is not None and share <= (MOST_NAMED if train.rate_hz else _IRREGULAR)
        return [it for it in moments if it[1] <= MOST_NAMED], (train, share) if train and clear else None

    def _clearest(self, peaks: Peaks, odd: Float64) -> Train | None:
        """Return the impulses of the oddest band that has a rhythm, or of the oddest band where none has.

        Args:
            peaks: Of the window.
            odd: Deviations of each band, float64[BANDS].
        """
        usual = self.peaks.mean[0] + _PEAK * self.peaks.spread[0]
        order = np.argsort(-odd)
        trains = [train_of(peaks, int(band), float(usual[band])) for band in order if odd[band] > 0]
        return next((train for train in trains if train and train.rate_hz), trains[0] if trains else None)


def oddity_of(train: Train, start: float, p_value: float) -> Oddity:
    """Return impulses as what a flag stands for; `start` is where the window begins, seconds."""
    times = round(start + train.first, 3), round(start + train.last, 3)
    rate = None if train.rate_hz is None else round(train.rate_hz, 3)
    return Oddity(IMPULSES, *times, train.low_hz, train.high_hz, round(train.height, 1), p_value, train.count, rate)


def share_of(calibration: Calibration, value: float) -> float:
    """Return the p-value of one number."""
    return float(calibration.p_values(np.array([value]))[0])


def machine_flags(bank: Bank) -> Flags | None:
    """Return what raises the flags of a machine; None where its bank keeps no swings, or no flags are wanted.

    The rate is the one that the fit was asked for, or the smallest that the bank supports where that is higher.
    """
    machine, own = bank.header.machine, bank.own
    if machine is None or own is None or own.nearest is None or SWINGS not in bank.extras or machine.flag_rate == 0:
        return None
    nearest, rate = own.nearest, machine.flag_rate
    used = np.arange(0, len(bank), -(-len(bank) // _MOST_ROWS))
    swung = bank.extras[SWINGS]
    levels = swung[:, 0]
    ways, counted = _ways(swung[used], levels[nearest[used]])
    groups, names = bank.groups[used], bank.columns.words["group"].array()[used]
    swings, deviations = _usual(ways, groups, _LEAST_SPREAD)
    bands = np.where(counted, deviations, 0.0).max(axis=(1, 2))
    peaks, impulsive = _usual(_impulsive(bank.extras[IMPULSES_KEPT][used]), groups, _LEAST_PEAK_SPREAD)
    of_bands, of_impulses = (calibrate(own, list(names)) for own in (bands, impulsive.sum(axis=1).max(axis=1)))
    wanted = USUAL_FLAG_RATE if rate is None else rate
    return Flags(swings, peaks, levels, of_bands, of_impulses, max(wanted, of_bands.smallest_rate))


def _ways(kept: Float32, healthy: Float32) -> tuple[Float64, NDArray[np.bool_]]:
    """Return two ways in which bins stand out, dB, and where each counts, both of the shape [N, 2, M].

    Args:
        kept: As `Swings.kept`, float32[N, 3, M].
        healthy: Mean levels of the nearest healthy windows, float32[N, M].
    """
    mean, low, most = kept.transpose(1, 0, 2).astype(np.float64)
    apart = mean - healthy
    overall = np.median(apart, axis=1, keepdims=True)  # a change of gain is no odd band
    whole = np.abs(apart - overall)
    ways = np.stack((most - low, whole), axis=1)
    up = most - healthy - np.maximum(overall, 0) >= LEAST_DB
    return ways, np.stack((up, np.minimum(whole, np.abs(apart)) >= LEAST_DB), axis=1)


def _impulsive(kept: Float32) -> Float64:
    """Return the third highest peak, dB, and the natural logarithm of the kurtosis plus 2, float64[N, 2, BANDS]."""
    values = kept.astype(np.float64)
    return np.stack((values[:, 0], np.log(np.maximum(values[:, 1] + 2, 0.1))), axis=1).reshape(-1, 2, BANDS)


def _usual(values: Float64, groups: NDArray[np.int64], least: Float64) -> tuple[Usual, Float64]:
    """Return mean and deviation over all rows, and the deviations of each row among the rows of other groups.

    Args:
        values: float64[N, ways, bins].
        groups: Group of each row, int64[N].
        least: Least deviation of each way, float64[ways, 1].
    """
    order = np.argsort(groups, kind="stable")
    _, first, sizes = np.unique(groups[order], return_index=True, return_counts=True)
    centre = values.mean(axis=0)  # sums around it lose no digits
    moved = values - centre
    sums, squares = (np.add.reduceat(part[order], first) for part in (moved, moved**2))
    which = np.unique(groups, return_inverse=True)[1]
    others = (len(values) - sizes)[which][:, None, None]
    mean = (sums.sum(axis=0) - sums[which]) / others
    spread = np.sqrt(np.maximum((squares.sum(axis=0) - squares[which]) / others - mean**2, 0))
    own = (moved - mean) / np.maximum(spread, least)
    return Usual(centre, np.maximum(values.std(axis=0), least)), own


def _around(inside: NDArray[np.bool_], peak: int) -> tuple[int, int]:
    """Return the first and the last bin of the unbroken stretch around one that is inside."""
    outside: Sequence[int] = np.flatnonzero(~inside).tolist()
    first = max((i for i in outside if i < peak), default=-1) + 1
    last = min((i for i in outside if i > peak), default=len(inside)) - 1
    return first, last
