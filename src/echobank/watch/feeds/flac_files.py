"""FLAC files of samples in a source's own format."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import soundfile

from echobank.watch.feeds.samples import SampleFormat


def write_flac(path: Path, form: SampleFormat, blocks: Iterable[bytes]) -> None:
    """Write samples; up to 24 bits are kept exactly, 32 bits and floating point become 24 bits.

    Args:
        path: The file.
        form: How the samples lie.
        blocks: Whole frames.

    Raises:
        OSError: The file cannot be written.
    """
    subtype = {"u8": "PCM_S8", "s16le": "PCM_16"}.get(form.kind, "PCM_24")
    try:
        with soundfile.SoundFile(path, "w", form.rate, form.channels, subtype, format="FLAC") as sound:
            for block in blocks:
                if form.kind == "s16le":
                    sound.write(np.frombuffer(block, "<i2").reshape(-1, form.channels))
                else:  # float64 holds 32-bit integers exactly
                    samples = form.decode(block).astype(np.float64)
                    sound.write(np.clip(samples, -1.0, 1.0 - 2.0**-23))
    except soundfile.LibsndfileError as error:
        raise OSError(0, error.error_string) from error
