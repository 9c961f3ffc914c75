"""Speech cut out of clips: what people beside a machine say lies between 80 Hz and 8 kHz, and that band is removed.

Voices begin at about 80 Hz, and telephone speech ends at 3.4 kHz, wideband speech at 7 kHz (ITU-T G.722): above 8 kHz
there is the hiss of an s, and no word. What is left is hum below and what recorders of more than 16 kHz hear above.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from echobank.errors import AudioError

LOW, HIGH = 80.0, 8000.0  # Hz
ATTENUATION = 70.0  # dB, everywhere between
_ORDER = 10
_BLOCK = 1 << 16

Float64 = NDArray[np.float64]


def cut_speech(source: Path, target: Path) -> None:
    """Write a recording without its band of speech, as FLAC of 24 bit with the same rate and channels.

    Args:
        source: The recording.
        target: Where it goes; replaced.

    Raises:
        AudioError: It cannot be read, or there is no room for it.
    """
    import soundfile

    try:
        with (
            soundfile.SoundFile(source) as sound,
            soundfile.SoundFile(target, "w", sound.samplerate, sound.channels, "PCM_24", format="FLAC") as clip,
        ):
            filters = _filters(sound.samplerate, sound.channels)
            while len(block := sound.read(_BLOCK, dtype="float64", always_2d=True)):
                clip.write(sum((keep(block) for keep in filters), np.zeros_like(block)))
    except soundfile.LibsndfileError as error:
        raise AudioError(f"its speech cannot be cut out ({error.error_string})") from error


def _filters(rate: int, channels: int) -> list[Callable[[Float64], Float64]]:
    """Return what lets pass what lies below the band, and above it where the rate reaches so far."""
    found = [_filter("lowpass", LOW, rate, channels)]
    if 0.98 * rate / 2 > HIGH:
        found.append(_filter("highpass", HIGH, rate, channels))
    return found


def _filter(kind: str, edge: float, rate: int, channels: int) -> Callable[[Float64], Float64]:
    from scipy.signal import cheby2, sosfilt

    sections = cheby2(_ORDER, ATTENUATION, edge, kind, output="sos", fs=rate)  # the edge is that of the stop band
    state = np.zeros((len(sections), 2, channels))

    def run(block: Float64) -> Float64:
        nonlocal state
        kept, state = sosfilt(sections, block, axis=0, zi=state)
        return np.asarray(kept, np.float64)

    return run
