import pytest

from tests.edge.machines import fit, recordings
from tests.machines.sounds import healthy_folder, hum, with_tone, write


@pytest.fixture(scope="package")
def healthy(tmp_path_factory):
    """Return a folder of ten healthy recordings in two states, two of them the same sound but for one second."""
    folder = tmp_path_factory.mktemp("edge") / "healthy"
    healthy_folder(folder / "slow", 5, 3.0)
    for i in range(5):
        write(folder / "fast" / f"{i}.wav", with_tone(hum(3.0, 50 + i, 71.0), 0, 3, 900.0, 0.01))
    return folder


@pytest.fixture(scope="package")
def new(tmp_path_factory):
    """Return recordings that no bank has, at the rates of recorders."""
    folder = tmp_path_factory.mktemp("new")
    return {rate: recordings(folder / str(rate), rate) for rate in (16_000, 22_050, 44_100, 48_000)}


@pytest.fixture(scope="package")
def bank(healthy, tmp_path_factory):
    """Return a bank of logmel_stats."""
    return fit(tmp_path_factory.mktemp("banks"), healthy, "logmel_stats")
