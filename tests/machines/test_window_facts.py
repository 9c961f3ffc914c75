import numpy as np
import pytest
import soundfile

from echobank.data.sound_facts import NAMES, OTHER, in_decibels
from echobank.machines.window_sources import WindowSource

RATE = 16_000


def test_a_second_channel_of_a_file_is_beside_the_one_that_is_heard(tmp_path):
    left, right = (
        0.05 * np.random.default_rng(1).standard_normal(5 * RATE),
        0.005 * np.random.default_rng(2).standard_normal(5 * RATE),
    )
    path = tmp_path / "two.wav"
    soundfile.write(path, np.stack([left, right], axis=1), RATE, subtype="FLOAT")
    heard = {}
    for channel in (0, 1):
        (window, *_) = WindowSource(path, 5.0, 5.0, RATE, channel, with_facts=True).windows()
        heard[channel] = dict(zip(NAMES, in_decibels(window.facts), strict=True))
    assert heard[0][OTHER] == pytest.approx(20 * np.log10(0.005), abs=0.2)
    assert heard[0]["other third 1000"] == heard[1]["third 1000"]
    assert heard[1]["other third 1000"] == heard[0]["third 1000"]
