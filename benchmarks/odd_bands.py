"""Sounds of known time and band in real healthy recordings: what explain names, what is flagged, and false flags.

    python benchmarks/odd_bands.py [--motors DIR] [--toycar DIR] [--slider DIR] [--seeds 10]

A bank never holds the recording that is changed: of motors each speed is left out in turn, of ToyCar and the slide
rails every sixth recording. A seed chooses recording, time, length and frequency. The sound is a tone, a third octave
of noise, or clicks, some dB above the level that the recording has there: in the same third octave and stretch of time;
of clicks the mean of their first 5 ms in the octave around them, against that octave of the whole recording.

Named means that a finding of `explain`, for the window that the sound lies in, agrees: both ends within 0.1 s, the
middle of the band within a third of an octave, of noise both edges; of clicks the first within 20 ms and the rate
within 5 %. Flagged means that the window carries the flag. Held-out windows are those of the recordings as they are.
"""

import argparse
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray
from recordings import recordings
from scipy.stats import beta

from echobank import Detector
from echobank.machines.explain import Explanation

Float64 = NDArray[np.float64]

RATE = 16_000
KINDS = ("tone", "noise", "clicks")
THIRD = 2 ** (1 / 3)


@dataclass(frozen=True)
class Place:
    """A machine: its recordings, how they are cut, and which are left out together."""

    name: str
    window: float
    files: tuple[Path, ...]
    folds: tuple[tuple[Path, ...], ...]


@dataclass(frozen=True)
class Inserted:
    """What was put into a recording: times in seconds, frequencies in Hz, clicks a second."""

    start: float
    end: float
    low: float
    high: float
    rate: float = 0.0


def main() -> None:
    """Measure and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--motors", type=Path, default=recordings("bldc_motors"))
    parser.add_argument("--toycar", type=Path, default=recordings("dcase2023_toycar_half"))
    parser.add_argument("--slider", type=Path, default=recordings("dcase2020_slider"))
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--first", type=int, default=0, help="number of the first seed")
    parser.add_argument("--levels", type=float, nargs="+", default=[6, 9, 12, 15, 20])
    args = parser.parse_args()
    places = list(places_of(args.motors, args.toycar, args.slider))
    if not places:
        sys.exit("skipped: no recordings")
    print("| machine | sound | " + " | ".join(f"{level:g} dB" for level in args.levels) + " |")
    print("|---|---|" + "---|" * len(args.levels))
    unchanged = []
    with tempfile.TemporaryDirectory() as folder:
        for place in places:
            banks = [fitted(place, fold) for fold in place.folds]
            for kind in KINDS:
                cells = [
                    measured(place, banks, kind, level, range(args.first, args.first + args.seeds), Path(folder))
                    for level in args.levels
                ]
                print(f"| {place.name} | {kind} | " + " | ".join(cells) + " |", flush=True)
            unchanged.append(held_out(place, banks))
    print("\n| machine | held-out | rate that is stated | `odd_band` | `impulses` |\n|---|---|---|---|---|")
    print("\n".join(unchanged))


def places_of(motors: Path | None, toycar: Path | None, slider: Path | None) -> Iterator[Place]:
    """Yield the machines whose recordings are here."""
    for motor in ("M1", "M2", "M3") if motors else ():
        files = tuple(sorted((motors / "Healthy" / motor).glob("*.wav")))  # type: ignore[operator]
        yield Place(f"motor {motor}", 2.0, files, tuple((file,) for file in files))
    if toycar:
        files = tuple(sorted((toycar / "dev_data" / "raw" / "ToyCar" / "train").glob("*.wav")))
        yield Place("ToyCar", 10.0, files, (files[::6],))
    for name in ("id_02", "id_06") if slider else ():
        files = tuple(sorted((slider / "slider" / "test").glob(f"normal_{name}_*.wav")))  # type: ignore[operator]
        yield Place(f"slide rail {name}", 10.0, files, (files[::6],))


def fitted(place: Place, fold: tuple[Path, ...]) -> Detector:
    """Return the machine that remembers every recording outside a fold."""
    detector = Detector(place.name, seconds=place.window, settings=("model.embedding=soundnet",))
    return detector.fit([file for file in place.files if file not in fold])


def measured(place: Place, banks: list[Detector], kind: str, level: float, seeds: range, folder: Path) -> str:
    """Return how many sounds of a kind and level were named and flagged, as the cell of a table."""
    named = flagged = 0
    for seed in seeds:
        rng = np.random.default_rng(seed)
        which = int(rng.integers(len(banks)))
        fold, detector = place.folds[which], banks[which]
        samples = read(fold[int(rng.integers(len(fold)))])
        changed, truth = insert(samples, kind, level, rng)
        path = folder / "changed.wav"
        soundfile.write(path, changed, RATE, subtype="FLOAT")
        verdicts = detector.score([path])
        inside = [it for it in verdicts if holds(it.start or 0.0, it.seconds or 0.0, truth, kind)]
        verdict = inside[len(inside) // 2]
        start, end = verdict.start or 0.0, (verdict.start or 0.0) + (verdict.seconds or 0.0)
        named += is_named(detector.explain(path, start), truth, kind, start, end)
        flagged += ("impulses" if kind == "clicks" else "odd_band") in verdict.flags.split("+")
    return f"{named}, {flagged} of {len(seeds)}"


def holds(start: float, seconds: float, truth: Inserted, kind: str) -> bool:
    """Return whether the middle of a sound, or the beginning of clicks, lies well inside a window."""
    at = truth.start + 0.25 if kind == "clicks" else (truth.start + truth.end) / 2
    return start + 0.25 <= at <= start + seconds - 0.25 or seconds < 0.5


def is_named(it: Explanation, truth: Inserted, kind: str, start: float, end: float) -> bool:
    """Return whether a finding agrees with what was put in, as far as the window holds it."""
    if kind == "clicks":
        times = truth.start + np.arange(round((truth.end - truth.start) * truth.rate) + 1) / truth.rate
        inside = times[(times >= start + 0.01) & (times <= end - 0.01)]
        train = it.impulses
        if train is None or train.rate_hz is None:
            return False
        return abs(start + train.first - inside[0]) <= 0.02 and abs(train.rate_hz / truth.rate - 1) <= 0.05
    begin, stop = max(truth.start, start), min(truth.end, end)
    for finding in it.findings:
        region = finding.region
        close = abs(start + region.start - begin) <= 0.1 and abs(start + region.end - stop) <= 0.1
        if kind == "tone":
            band = near(np.sqrt(region.low_hz * region.high_hz), np.sqrt(truth.low * truth.high))
        else:
            band = near(region.low_hz, truth.low) and near(region.high_hz, truth.high)
        if close and band and region.excess_db > 0:
            return True
    return False


def near(one: float, other: float) -> bool:
    """Return whether two frequencies are within a third of an octave."""
    return 1 / THIRD <= one / other <= THIRD


def insert(samples: Float64, kind: str, level: float, rng: np.random.Generator) -> tuple[Float64, Inserted]:
    """Return a recording with a sound in it, and what that is."""
    changed, seconds = samples.copy(), len(samples) / RATE
    if kind == "clicks":
        period, hz = rng.uniform(0.08, 0.4), float(np.exp(rng.uniform(np.log(700), np.log(5000))))
        count = max(4, int(1.2 / period))
        start = rng.uniform(0.3, seconds - count * period - 0.3)
        loudness = np.sqrt(power_of(samples, hz, 1.0) * 10 ** (level / 10))
        for number in range(count):
            first = round((start + number * period) * RATE)
            click = noise(rng, 160, hz, 1.0) * np.exp(-np.arange(160) / 48)  # it falls to 1 / e in 3 ms
            changed[first : first + 160] += click * loudness / np.sqrt(np.mean(click[:80] ** 2))
        return changed, Inserted(start, start + (count - 1) * period, hz / 2**0.5, hz * 2**0.5, 1 / period)
    hz, length = float(np.exp(rng.uniform(np.log(300), np.log(6000)))), rng.uniform(0.4, 1.2)
    start = rng.uniform(0.5, seconds - length - 0.5)
    inside = slice(round(start * RATE), round((start + length) * RATE))
    power = power_of(samples[inside], hz, 1 / 3) * 10 ** (level / 10)
    count = inside.stop - inside.start
    if kind == "tone":
        changed[inside] += np.sqrt(2 * power) * np.sin(2 * np.pi * hz * np.arange(count) / RATE)
    else:
        changed[inside] += np.sqrt(power) * noise(rng, count, hz, 1 / 3)
    return changed, Inserted(start, start + length, hz * 2 ** (-1 / 6), hz * 2 ** (1 / 6))


def power_of(samples: Float64, hz: float, octaves: float) -> float:
    """Return the mean power of a band."""
    spectrum, lines = np.fft.rfft(samples), np.fft.rfftfreq(len(samples), 1 / RATE)
    inside = (lines >= hz * 2 ** (-octaves / 2)) & (lines < hz * 2 ** (octaves / 2))
    return float(2 * np.sum(np.abs(spectrum[inside]) ** 2) / len(samples) ** 2)


def noise(rng: np.random.Generator, count: int, hz: float, octaves: float) -> Float64:
    """Return noise of a band with a deviation of 1."""
    spectrum, lines = np.fft.rfft(rng.standard_normal(count)), np.fft.rfftfreq(count, 1 / RATE)
    spectrum[(lines < hz * 2 ** (-octaves / 2)) | (lines > hz * 2 ** (octaves / 2))] = 0
    found: Float64 = np.fft.irfft(spectrum, count)
    found /= found.std()
    return found


def held_out(place: Place, banks: list[Detector]) -> str:
    """Return how often recordings that a bank does not hold are flagged, counted in recordings, as the row of a table.

    The share of a recording is that of its flagged windows; the interval is that of Clopper and Pearson, 90 %, as if
    the sum of the shares were a count.
    """
    shares: dict[str, list[float]] = {"odd_band": [], "impulses": []}
    for fold, detector in zip(place.folds, banks, strict=True):
        for file in fold:
            flags = [it.flags.split("+") for it in detector.score([file])]
            for name, found in shares.items():
                found.append(float(np.mean([name in it for it in flags])))
    cells = []
    for found in shares.values():
        count, hits = len(found), sum(found)
        low, high = beta.ppf([0.05, 0.95], [max(hits, 1e-9), hits + 1], [count - hits + 1, max(count - hits, 1e-9)])
        cells.append(f"{100 * hits / count:.0f} % ({100 * low:.0f} to {100 * high:.0f})")
    rates = sorted({detector.machine_.flags.rate for detector in banks if detector.machine_.flags})
    stated = " to ".join(f"{100 * rate:.1f} %" for rate in dict.fromkeys((rates[0], rates[-1])))
    return f"| {place.name} | {len(shares['odd_band'])} recordings | {stated} | {' | '.join(cells)} |"


def read(path: Path) -> Float64:
    """Return the first channel of a recording at 16 kHz."""
    samples, rate = soundfile.read(path, always_2d=True)
    first: Float64 = samples[:, 0]
    return first if rate == RATE else np.asarray(soxr.resample(first, rate, RATE))


if __name__ == "__main__":
    main()
