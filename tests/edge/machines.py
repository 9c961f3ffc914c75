"""Machines of invented sounds for the tests: fitted by the command line, exported by it too."""

import contextlib
import hashlib
from unittest.mock import patch

import soxr
from safetensors.numpy import load_file

from echobank.cli import main
from echobank.edge.bundle import write_bundle
from echobank.edge.parity import compare_package
from echobank.machines.machine import open_machine
from tests.golden.before.places import PARTS, SOUNDNET, write_soundnet
from tests.machines.sounds import hum, with_tone, write


def recordings(folder, rate=16_000, count=3):
    """Write recordings that no bank has, one of them shorter than a window and one with a tone."""
    for i in range(count):
        sound = with_tone(hum(3.3 if i else 1.7, seed=500 + i), 0.5, 2.0 if i == 1 else 0.5)
        write(folder / f"{i}.wav", soxr.resample(sound, 16_000, rate) if rate != 16_000 else sound, rate)
    return sorted(folder.glob("*.wav"))


def fit(folder, healthy, encoder, *settings, weights=None):
    words = ["fit", str(healthy), "--machine", "pump", "--out", str(folder), "--window", "2s"]
    pairs = [f"model.embedding={encoder}", *settings, *([f"weights.path={weights}"] if weights else [])]
    assert main([*words, *(word for pair in pairs for word in ("--set", pair))]) == 0
    return folder / "pump"


def compared(bank, out, paths, rate=None, weights=None):
    """Return how far the package of a bank is from the bank."""
    machine = open_machine(bank, device="cpu", weights=weights)
    write_bundle(machine, bank, out, sample_rate=rate)
    return compare_package(machine, bank, out, paths)


@contextlib.contextmanager
def random_soundnet(folder):
    """Give a file of weights that passes as the published one."""
    file = folder / "soundnet.safetensors"
    write_soundnet(file)
    tensors, digest = load_file(file), hashlib.sha256()
    for number in range(1, len(SOUNDNET) + 1):
        for part in PARTS:
            digest.update(tensors[f"conv{number}.{part}"].tobytes())
    with patch("echobank.models.encoders.soundnet.CONTENT_SHA256", digest.hexdigest()):
        yield file
