"""Causes from real samples: a sound, and what a recording chain that fails makes of it."""

import numpy as np
import pytest
from scipy.signal import butter, sosfilt

from echobank.data.sound_facts import in_decibels, paired, sound_facts
from echobank.machines.checkup.recording_chain import cause_of
from echobank.machines.checkup.sound_change import Sides

RATE = 16_000
T = np.arange(5 * RATE) / RATE


def machine(seed, extra=0.0):
    """Return near and far samples of a machine with tones, noise and perhaps more of a resonance at 3 kHz."""
    rng = np.random.default_rng(seed)
    tones = sum(np.sin(2 * np.pi * 97 * k * T + rng.uniform(0, 6)) / k for k in range(1, 30))
    rough = sosfilt(butter(2, [2500, 3500], "bandpass", fs=RATE, output="sos"), rng.standard_normal(len(T)))
    noise, room = rng.standard_normal(len(T)), np.cumsum(rng.standard_normal(len(T)))
    room = sosfilt(butter(1, 40, "highpass", fs=RATE, output="sos"), room)
    own = 0.03 * tones + (0.01 + extra) * rough
    return own + 0.005 * noise + 0.001 * room, 0.2 * own + 0.003 * noise + 0.004 * room


def facts_of(near, far=None):
    facts = sound_facts(near.astype(np.float32), RATE)
    if far is not None:
        level = 10 * np.log10(np.mean(far**2))
        facts = paired(facts, sound_facts(far.astype(np.float32), RATE), level)
    return in_decibels(facts)


def sides(work, *, two=True, slow=False, extra=0.0):
    """Return the sides of a change that `work(near, far, rng)` makes."""
    before, after = [], []
    for seed in range(6):
        near, far = machine(seed)
        before.append(facts_of(near, far if two else None))
        near, far = machine(100 + seed, extra)
        near, far = work(near, far, np.random.default_rng(seed))
        after.append(facts_of(near, far if two else None))
    return Sides(np.mean(before, axis=0), np.mean(after, axis=0), slow)


def lowpass(near, far, rng):
    return sosfilt(butter(10, 4000, "lowpass", fs=RATE, output="sos"), near), far


def highpass(near, far, rng):
    return sosfilt(butter(10, 400, "highpass", fs=RATE, output="sos"), near), far


def hum(near, far, rng):
    return near + 0.002 * sum(np.sin(2 * np.pi * 50 * k * T) / k for k in range(1, 7)), far


def dropped(near, far, rng):
    near = near.copy()
    for at in rng.integers(0, len(near) - 1000, 20):
        near[at : at + 400] = near[at]
    return near, far


def dull(near, far, rng):
    hertz = np.maximum(np.fft.rfftfreq(len(near), 1 / RATE), 1)
    tilt = 10 ** (-3 * np.maximum(0, np.log2(hertz / 1000)) / 20)
    return np.fft.irfft(np.fft.rfft(near) * tilt, len(near)), far


CHAIN = {
    "gain": lambda near, far, rng: (near * 10 ** (3 / 20), far),
    "lost_band": lowpass,
    "swapped": lambda near, far, rng: (far, near),
    "hum": hum,
    "dropped": dropped,
    "offset": lambda near, far, rng: (near + 0.05, far),
    "clipping": lambda near, far, rng: (np.clip(near * 25, -1, 1), far),
}


@pytest.mark.parametrize("kind", CHAIN)
def test_each_failure_of_the_chain_is_named(kind):
    cause = cause_of(sides(CHAIN[kind]))
    assert (cause.kind, cause.chain) == (kind, True)
    assert cause.sentence and cause.next_step


@pytest.mark.parametrize("kind", [kind for kind in CHAIN if kind != "swapped"])
def test_one_microphone_is_enough_but_for_a_swap(kind):
    assert cause_of(sides(CHAIN[kind], two=False)).kind == kind


@pytest.mark.parametrize(("decibels", "slow"), [(3, False), (-3, False), (-6, True), (1.5, False)])
def test_a_gain_is_told_with_its_size(decibels, slow):
    cause = cause_of(sides(lambda near, far, rng: (near * 10 ** (decibels / 20), far), slow=slow))
    assert cause.kind == "gain" and cause.size == pytest.approx(decibels, abs=0.2)
    assert any("heard nothing of it" in text for text in cause.evidence)


def test_the_lost_band_is_told_with_its_edge():
    assert "above 4" in cause_of(sides(lowpass)).sentence or "above 3.5 kHz" in cause_of(sides(lowpass)).sentence
    assert "below" in cause_of(sides(highpass)).sentence


def test_a_microphone_that_grows_dull_is_the_chain_only_where_it_came_slowly():
    assert cause_of(sides(dull, slow=True)).kind == "ageing"
    assert cause_of(sides(dull, slow=False)).chain is False


@pytest.mark.parametrize("two", [True, False])
@pytest.mark.parametrize("slow", [True, False])
@pytest.mark.parametrize("extra", [0.01, 0.03, 0.1])
def test_a_resonance_of_the_machine_is_not_the_chain(extra, slow, two):
    cause = cause_of(sides(lambda near, far, rng: (near, far), two=two, slow=slow, extra=extra))
    assert cause.chain is False and cause.kind == "sound"


def test_a_machine_that_is_louder_over_its_background_is_not_a_gain():
    def louder(near, far, rng):
        own, _ = machine(7)
        return near + own, far

    assert cause_of(sides(louder)).kind != "gain"


def test_no_change_and_no_facts_are_not_the_chain():
    still = sides(lambda near, far, rng: (near, far))
    assert cause_of(still).chain is False
    none = np.full_like(still.before, np.nan)
    assert cause_of(Sides(none, none, False)).kind == "unknown"
