"""Files that somebody sends to break a decoder, to fill a disk, or to be something else later."""

import gzip
import io
import struct
import zipfile

import numpy as np
import soundfile

RATE = 16_000


def encoded(seconds, kind, channels=1):
    """Return silence, which is small for its length."""
    file = io.BytesIO()
    with soundfile.SoundFile(file, "w", RATE, channels, format=kind) as sound:
        for _ in range(seconds // 60):
            sound.write(np.zeros((60 * RATE, channels), np.float32))
    return file.getvalue()


def plain(seconds=1.0):
    rng, file = np.random.default_rng(0), io.BytesIO()
    soundfile.write(file, 0.1 * rng.standard_normal(round(seconds * RATE)), RATE, format="WAV")
    return file.getvalue()


def archive(size):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as it:
        it.writestr("sound.wav", bytes(size))
    return file.getvalue()


def ten_gigabytes():
    """Return an RF64 whose header promises 10 GB of samples."""
    wav, size = plain(), 10 << 30
    sizes = b"ds64" + struct.pack("<IQQQI", 28, size, size - 100, size // 2, 0)
    return b"RF64" + b"\xff" * 4 + b"WAVE" + sizes + wav[12:36] + b"data" + b"\xff" * 4 + wav[44:]


def changed(place, kind, value):
    """Return a WAV with another value in its header."""
    wav = plain()
    return wav[:place] + struct.pack(kind, value) + wav[place + struct.calcsize(kind) :]


def hostile():
    """Return content by name."""
    return {
        "a FLAC bomb": encoded(600, "FLAC"),
        "a FLAC bomb of eight channels": encoded(300, "FLAC", 8),
        "an Ogg bomb": encoded(600, "OGG"),
        "an MP3 bomb": encoded(300, "MP3"),
        "a zip bomb": archive(50 << 20),
        "a gzip bomb": gzip.compress(bytes(20 << 20)),
        "a header of 10 GB": ten_gigabytes(),
        "65,535 channels": changed(22, "<H", 65_535),
        "no channel": changed(22, "<H", 0),
        "2 GHz": changed(24, "<I", 2**31 - 1),
        "1 Hz": changed(24, "<I", 1),
        "a WAV that is an archive": plain() + archive(1000),
        "a FLAC that is an archive": encoded(60, "FLAC") + archive(1000),
        "a page before a FLAC": b"<html><script>alert(1)</script>" + encoded(60, "FLAC"),
        "a page inside a WAV": plain()[:44] + b"<!DOCTYPE html><script>alert(1)</script>" + plain()[84:],
        "a picture before a WAV": b"GIF89a" + plain(),
        "a document before an MP3": b"%PDF-1.7\n" + encoded(60, "MP3"),
        "a program": b"\x7fELF" + bytes(1000),
        "a playlist": b"#EXTM3U\nfile:///etc/passwd\n",
        "half a FLAC": encoded(60, "FLAC")[:400],
    }
