import numpy as np
import pytest
import soundfile

from echobank.data.sound_facts import (
    CENTRES,
    MISSING,
    NAMES,
    OTHER_THIRDS,
    THIRDS,
    in_decibels,
    packed,
    paired,
    sound_facts,
)
from echobank.data.windows import read_windows

RATE = 16_000


def facts_of(samples, rate=RATE):
    return dict(zip(NAMES, in_decibels(sound_facts(samples.astype(np.float32), rate)), strict=True))


def noise(level=0.05, seconds=10, rate=RATE, seed=0):
    return level * np.random.default_rng(seed).standard_normal(seconds * rate)


def test_a_sine_is_in_its_third_octave_at_its_level():
    t = np.arange(10 * RATE) / RATE
    facts = facts_of(0.1 * np.sin(2 * np.pi * 1000 * t))
    assert facts["third 1000"] == pytest.approx(20 * np.log10(0.1 / np.sqrt(2)), abs=0.02)
    assert facts["peak"] == pytest.approx(-20, abs=0.02)
    assert facts["third 2512"] < -80


def test_thirds_of_white_noise_add_up_and_rise_by_one_decibel_each():
    thirds = in_decibels(sound_facts(noise().astype(np.float32), RATE))[THIRDS]
    assert np.isnan(thirds[25:]).all()  # 7943 Hz ends above 8000
    steps = np.diff(thirds[10:25])
    assert steps.mean() == pytest.approx(1.0, abs=0.1)
    below = sum(10 ** (thirds[:25] / 10))
    assert below == pytest.approx(0.05**2 * (CENTRES[24] * 10**0.05) / 8000, rel=0.02)


def test_a_gain_moves_every_level_by_itself_and_nothing_else():
    sound = noise() + 0.01
    one, two = facts_of(sound), facts_of(sound * 10 ** (3 / 20))
    for name in ("floor", "peak", "offset", "third 100", "third 1000", "third 6310"):
        assert two[name] - one[name] == pytest.approx(3, abs=0.02), name
    assert two["hum 50"] == pytest.approx(one["hum 50"], abs=0.02)


def test_hum_is_seen_at_its_own_mains_only():
    t = np.arange(10 * RATE) / RATE
    hum = sum(0.01 * np.sin(2 * np.pi * 50 * k * t) for k in range(1, 7))
    with_hum, without = facts_of(noise() + hum), facts_of(noise())
    assert with_hum["hum 50"] > without["hum 50"] + 15
    assert with_hum["hum 60"] < without["hum 60"] + 3


def test_dropped_samples_clipping_and_offset_are_shares_and_levels():
    sound = noise(0.3)
    sound[1000 : 1000 + RATE // 10] = sound[999]
    facts = facts_of(np.clip(sound + 0.1, -1, 1))
    assert facts["dead"] == pytest.approx(10 * np.log10(0.01), abs=0.1)
    assert facts["offset"] == pytest.approx(-20, abs=0.2)
    assert facts["clipped"] == pytest.approx(10 * np.log10(np.mean(sound + 0.1 >= 1)), abs=1.0)
    assert facts_of(noise())["dead"] == facts_of(noise())["clipped"] == -100


@pytest.mark.parametrize("samples", [np.zeros(1), np.zeros(16000), np.ones(2800), np.full(5, 0.5)])
def test_silence_and_stubs_have_facts(samples):
    values = sound_facts(samples.astype(np.float32), RATE)
    assert values.dtype == np.int16 and values.shape == (len(NAMES),)


def test_packing_keeps_hundredths_and_what_is_missing():
    values = np.array([[-12.344, np.nan], [0.0, -400.0]])
    assert packed(values).tolist() == [[-1234, MISSING], [0, -32767]]
    assert np.isnan(in_decibels(packed(values))[0, 1])


def test_windows_have_no_facts_unless_they_are_asked_for(tmp_path):
    path = tmp_path / "one.wav"
    soundfile.write(path, noise(), RATE)
    assert [w.facts for w in read_windows(path, seconds=5, hop=5)] == [None, None]
    (facts, *_) = [w.facts for w in read_windows(path, seconds=5, hop=5, facts=True)]
    assert (in_decibels(facts)[OTHER_THIRDS] == MISSING).sum() == 0 and np.isnan(in_decibels(facts)[OTHER_THIRDS]).all()


def test_paired_leaves_the_first_channel_as_it_is():
    one, two = (sound_facts(noise(level).astype(np.float32), RATE) for level in (0.1, 0.2))
    both = paired(one, two, -20.0)
    assert (both[: THIRDS.stop] == one[: THIRDS.stop]).all() and (both[OTHER_THIRDS] == two[THIRDS]).all()
