"""Explain: the marked region covers a fault whose time and band are known; the checks agree with it."""

import numpy as np
import pytest

from echobank.cli import main
from echobank.errors import AudioError, InputError
from echobank.machines.detector import Detector
from echobank.machines.explain import explain
from echobank.machines.machine import open_machine
from echobank.machines.regions import mel_edges_hz, without
from echobank.machines.sentences import clock, hertz
from tests.machines.sounds import RATE, hum, with_tone, write


@pytest.fixture(scope="module")
def machine(fitted):
    return open_machine(fitted / "banks" / "pump")


@pytest.mark.parametrize(("start", "end"), [(0.4, 1.1), (1.0, 1.6), (0.0, 2.0)])
@pytest.mark.parametrize("hz", [700.0, 3000.0, 6500.0])
@pytest.mark.parametrize("level", [0.05, 0.005])
def test_the_region_covers_a_tone_and_little_more(machine, tmp_path, start, end, hz, level):
    path = write(tmp_path / "a.wav", with_tone(hum(2.0, seed=77), start, end, hz, level))
    region = explain(machine, path).findings[0].region
    assert region.start <= start + 0.02 and region.end >= end - 0.02
    assert region.low_hz <= hz <= region.high_hz
    assert region.end - region.start <= end - start + 0.5
    assert region.high_hz - region.low_hz < 0.5 * hz + 300
    assert region.excess_db > 5


def test_levelling_the_region_takes_the_alarm_away(machine, tmp_path):
    path = write(tmp_path / "a.wav", with_tone(hum(2.0, seed=77), 0.5, 1.5, level=0.02))
    explanation = explain(machine, path)
    finding = explanation.findings[0]
    above = explanation.verdict.score - machine.threshold
    assert above > 0 and finding.score_without - machine.threshold < 0.1 * above
    said = " ".join(explanation.sentences)
    assert (
        "dB louder" in said
        and "kHz" in said
        and "brought back to its healthy level" in said
        and "above the alarm threshold" in said
    )


def test_a_missing_band_is_quieter(machine, tmp_path):
    sound = hum(2.0, seed=77)
    spectrum = np.fft.rfft(sound)
    hz = np.fft.rfftfreq(len(sound), 1 / RATE)
    spectrum[(hz > 1500) & (hz < 2500)] *= 0.02
    path = write(tmp_path / "a.wav", np.fft.irfft(spectrum))
    region = explain(machine, path).findings[0].region
    assert region.excess_db < -5
    assert region.low_hz < 1700 and region.high_hz > 2300
    assert "quieter" in " ".join(explain(machine, path).sentences)


def test_healthy_sound_has_nothing_to_mark(machine, fitted):
    explanation = explain(machine, fitted / "new" / "good.wav")
    assert explanation.findings == ()
    assert explanation.nearest is not None and explanation.token_oddness is not None
    assert explanation.token_oddness.shape[1] == 1


def test_tokens_are_odd_where_the_tone_is(machine, tmp_path):
    path = write(tmp_path / "a.wav", with_tone(hum(2.0, seed=77), 1.0, 1.6))
    explanation = explain(machine, path)
    worst = int(explanation.token_oddness[:, 0].argmax()) * explanation.token_seconds
    assert 0.8 <= worst <= 1.6


def test_a_healthy_recording_that_is_gone_or_changed_is_not_shown(fitted, tmp_path):
    for i in range(3):
        write(tmp_path / "h" / f"{i}.wav", hum(2.0, seed=i))
    detector = Detector(seconds=2.0, hop=2.0).fit(tmp_path / "h")
    for i in range(3):
        write(tmp_path / "h" / f"{i}.wav", hum(2.0, seed=i + 10))
    explanation = detector.explain(fitted / "new" / "bad.wav")
    assert explanation.nearest is None and explanation.findings
    assert "not available" in explanation.sentences[-1]


def test_levelling_nothing_changes_nothing(machine, fitted, tmp_path):
    path = write(tmp_path / "a.wav", with_tone(hum(2.0, seed=77), 0.5, 1.5))
    region = explain(machine, path).findings[0].region
    sound = hum(2.0, seed=1)
    idle = type(region)(0.5, 1.5, 100.0, 200.0, 0.0, np.zeros(len(mel_edges_hz())), 1.0)
    assert without(sound, RATE, idle) == pytest.approx(sound, abs=1e-5)


def test_bad_input(machine, fitted, tmp_path, capsys):
    with pytest.raises(AudioError):
        explain(machine, tmp_path / "gone.wav")
    with pytest.raises(InputError, match="the nearest begins at 2 s"):
        explain(machine, fitted / "new" / "bad.wav", 7.0)
    assert main(["explain", str(fitted / "banks" / "pump"), str(tmp_path / "gone.wav")]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert main(["explain", str(fitted / "banks" / "pump"), str(fitted / "new" / "bad.wav"), "--at", "1s"]) == 0
    assert "1.0 s to 3.0 s" in capsys.readouterr().out


def test_times_and_frequencies_as_people_write_them():
    assert [clock(s) for s in (3.21, 75.0, 3723.2)] == ["3.2 s", "1:15.0", "1:02:03.2"]
    assert [hertz(f) for f in (440.4, 2400.0)] == ["440 Hz", "2.4 kHz"]
