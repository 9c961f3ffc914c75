"""The flag `odd_band` of a package is that of the bank: the same windows, the same bands, the same decibels."""

import numpy as np
import pytest
import soxr

from echobank.edge.bundle import write_bundle
from echobank.edge.parity import EdgeRunner, compare_package, read_samples
from echobank.machines.machine import open_machine
from echobank.machines.verdict import ODD_BAND
from tests.edge.machines import fit
from tests.machines.sounds import hum, with_tone, write


@pytest.fixture(scope="module")
def bank(tmp_path_factory):
    folder = tmp_path_factory.mktemp("odd")
    for i in range(60):
        write(folder / "healthy" / f"{i:02d}.wav", hum(2.0, seed=i))
    return fit(folder / "banks", folder / "healthy", "logmel_stats")


def sounds():
    """Healthy ones, tones that come and go, tones throughout, one that is missing, a gain, and very short ones."""
    yield from (hum(2.0, seed=500 + i) for i in range(3))
    for i, (pitch, level) in enumerate(((900.0, 0.01), (2500.0, 0.05), (6000.0, 0.02), (300.0, 0.3))):
        yield with_tone(hum(2.0, seed=600 + i), 0.5, 1.2, pitch, level)
        yield with_tone(hum(2.0, seed=700 + i), 0.0, 2.0, pitch, level)
    quiet = np.fft.rfft(hum(2.0, seed=800))
    quiet[4000:9000] *= 0.1
    yield np.fft.irfft(quiet).astype(np.float32)
    yield 4 * hum(2.0, seed=801)
    yield from (with_tone(hum(seconds, seed=802), 0.0, seconds, 2500.0, 0.1) for seconds in (0.03, 0.3, 0.6, 1.1))


@pytest.mark.parametrize("rate", (16_000, 44_100))
def test_windows_bands_and_decibels(rate, bank, tmp_path):
    machine = open_machine(bank)
    assert machine.flags is not None
    write_bundle(machine, bank, tmp_path / "pump.edge", sample_rate=rate)
    runner = EdgeRunner(tmp_path / "pump.edge")
    paths, raised = [], 0
    for number, sound in enumerate(sounds()):
        samples = soxr.resample(sound, 16_000, rate) if rate != 16_000 else sound
        paths.append(write(tmp_path / f"{number}.wav", samples, rate))
        (heard,) = machine.listener.hear([paths[-1]])
        verdicts = machine.judge(heard)
        for verdict, scored in zip(verdicts, runner.score(read_samples(paths[-1], runner.facts)), strict=True):
            found = [(odd.low_hz, odd.high_hz, odd.db) for odd in verdict.findings if odd.kind == ODD_BAND]
            assert scored.odd_band == pytest.approx(found[0] if found else (), abs=0.11)
            raised += bool(found)
    assert raised > 5 and (rate != 16_000 or raised < len(paths))
    assert compare_package(machine, bank, tmp_path / "pump.edge", paths).odd_bands == 0
