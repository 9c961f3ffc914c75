"""Evidence: the oddest window of an event's sound, explained, with the nearest healthy sound beside it."""

import base64
import io
import threading
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np

from echobank.machines.explain import Explanation, Sound, explain
from echobank.machines.regions import DECIBEL, FRAME_SECONDS
from echobank.models.encoder import Float32
from echobank.models.logmel import mel_edges_hz
from echobank.serve.hosted import HostedMachine

_KEPT = 16  # explanations in memory, each with some seconds of sound
_COLUMNS = 480
_LEAST_RANGE_DB = 20.0
_PEAK = 0.9


class EvidenceShelf:
    """Explains, one event at a time, and keeps the last explanations."""

    def __init__(self) -> None:
        self._gate = threading.Lock()
        self._kept: OrderedDict[tuple[str, str, int], Explanation] = OrderedDict()

    def explanation(self, host: HostedMachine, clip: Path) -> Explanation:
        """Return the explanation of the oddest window of a clip by the bank in force.

        Args:
            host: The machine.
            clip: Sound that was decoded before, within the limits of an upload.

        Raises:
            AudioError: The clip cannot be used.
            BankError: The bank keeps no spectra.
        """
        with self._gate:
            key = (host.name, clip.name, host.revision)
            if key not in self._kept:
                self._kept[key] = explain(host.machine, clip)
            self._kept.move_to_end(key)
            while len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
            return self._kept[key]


_CUT = (
    "The band of speech was cut out of this sound before it was kept, so it can be seen and heard, and not explained."
)


def explanation_values(it: Explanation, *, cut: bool = False) -> dict[str, Any]:
    """Return an explanation as plain values, without its sounds.

    Args:
        it: The explanation.
        cut: Whether the band of speech was cut out of the sound, so that the bank says nothing true of it.
    """
    regions = [
        {
            "start": finding.region.start,
            "end": finding.region.end,
            "low_hz": finding.region.low_hz,
            "high_hz": finding.region.high_hz,
            "excess_db": finding.region.excess_db,
            "score_without": finding.score_without,
        }
        for finding in (() if cut else it.findings)
    ]
    verdict = it.verdict
    window = {name: getattr(verdict, name) for name in ("start", "seconds", "score", "p_value", "decision")}
    nearest = {"file": verdict.nearest, "start": verdict.nearest_start, "at_hand": it.nearest is not None}
    return {
        "sentences": [_CUT] if cut else list(it.sentences),
        "window": window,
        "flags": [flag for flag in verdict.flags.split("+") if flag],
        "threshold": it.threshold,
        "level_db": it.level_db,
        "regions": regions,
        "nearest": nearest,
    }


def pictures(it: Explanation) -> dict[str, Any]:
    """Return both spectrograms as bytes of one range of levels, so that their colours may be compared."""
    sounds = {"odd": it.sound, "healthy": it.nearest}
    levels = {name: _columns(sound) for name, sound in sounds.items() if sound is not None}
    low, high = np.percentile(np.concatenate([level.ravel() for level in levels.values()]), (5, 99.8))
    high = max(high, low + _LEAST_RANGE_DB)
    edges = mel_edges_hz()
    drawn = {}
    for name, level in levels.items():
        sound = sounds[name]
        pixels = np.clip((level - low) / (high - low) * 255, 0, 255).astype(np.uint8)
        drawn[name] = {
            "columns": pixels.shape[0],
            "bins": pixels.shape[1],
            "seconds": len(sound.mel) * FRAME_SECONDS if sound else 0.0,
            "pixels": base64.b64encode(pixels.tobytes()).decode(),
        }
    return {
        "range_db": [float(low), float(high)],
        "low_hz": edges[:, 0].tolist(),
        "high_hz": edges[:, -1].tolist(),
        "odd": drawn["odd"],
        "healthy": drawn.get("healthy"),
    }


def wav(it: Explanation, which: str) -> bytes | None:
    """Return one of the two sounds as WAV, or None; both are made louder by the same factor, so that they compare."""
    import soundfile

    wanted = it.sound if which == "odd" else it.nearest
    if wanted is None:
        return None
    peak = max(float(np.abs(sound.samples).max()) for sound in (it.sound, it.nearest) if sound is not None)
    stream = io.BytesIO()
    soundfile.write(stream, wanted.samples * (_PEAK / peak if peak else 1.0), wanted.rate, format="WAV")
    return stream.getvalue()


def _columns(sound: Sound) -> Float32:
    """Return the levels, dB, of at most so many stretches of a sound, float32[columns, M]."""
    step = -(-len(sound.mel) // _COLUMNS)
    loudest: Float32 = np.maximum.reduceat(sound.mel, np.arange(0, len(sound.mel), step), axis=0)
    level: Float32 = (loudest * DECIBEL).astype(np.float32)
    return level
