"""The Python way: the same bank, scores and words as the command line."""

from dataclasses import replace

import numpy as np
import pytest
import soundfile

from echobank import Detector
from echobank.errors import InputError
from echobank.machines.archive import bank_file, undo
from echobank.machines.machine import open_machine
from echobank.machines.score import score_stream
from tests.machines.sounds import RATE, hum, with_tone, write


def test_python_and_command_line_agree(fitted, tmp_path):
    detector = Detector("pump", seconds=2.0, hop=1.0).fit(fitted / "healthy")
    verdicts = detector.score(fitted / "new")
    machine = open_machine(fitted / "banks" / "pump")
    paths = sorted((fitted / "new").glob("*.wav"))
    assert verdicts == [verdict for rows in score_stream(machine, paths) for verdict in rows]
    detector.save(tmp_path / "pump")
    again = Detector.load(tmp_path / "pump")
    assert again.score(fitted / "new") == verdicts
    assert again.health() == detector.health()


def test_the_rate_can_be_changed_within_what_the_recordings_support(fitted):
    detector = Detector.load(fitted / "banks" / "pump")
    few = sum(v.decision for v in detector.decide(far=0.05).score(fitted / "healthy"))
    many = sum(v.decision for v in detector.decide(far=0.9).score(fitted / "healthy"))
    assert few <= many
    with pytest.raises(InputError, match="support a false-alarm rate"):
        detector.decide(far=0.001)


def test_adding_makes_normal(fitted):
    detector = Detector.load(fitted / "banks" / "pump")
    assert any(v.decision for v in detector.score(fitted / "new" / "bad.wav"))
    assert "louder" in " ".join(detector.explain(fitted / "new" / "bad.wav").sentences)
    detector.add(fitted / "new" / "bad.wav")
    assert not any(v.decision for v in detector.score(fitted / "new" / "bad.wav"))


def test_what_is_not_fitted_says_so():
    with pytest.raises(InputError, match="call fit or load first"):
        Detector().score("x.wav")


def test_a_rate_that_was_decided_on_is_saved_and_the_bank_before_can_be_had_back(fitted, tmp_path):
    detector = Detector.load(fitted / "banks" / "pump")
    detector.save(tmp_path / "pump")
    before = bank_file(tmp_path / "pump").read_bytes()
    detector.decide(far=0.2).save(tmp_path / "pump")
    again = Detector.load(tmp_path / "pump")
    assert again.machine_.rate == 0.2 and again.machine_.threshold == detector.machine_.threshold
    assert [entry.action for entry in again.machine_.bank.header.machine.log] == ["fit", "save"]
    undo(tmp_path / "pump")
    assert bank_file(tmp_path / "pump").read_bytes() == before


def test_the_nearest_of_what_was_added_can_be_heard(fitted, tmp_path):
    write(tmp_path / "odd" / "a.wav", with_tone(hum(2.0, seed=101), 0.0, 2.0))
    detector = Detector.load(fitted / "banks" / "pump").add(tmp_path / "odd")
    heard = detector.explain(write(tmp_path / "b.wav", with_tone(hum(2.0, seed=102), 0.0, 2.0)))
    assert heard.verdict.nearest == "a.wav" and heard.nearest is not None


def test_without_a_hop_it_is_half_a_window_as_on_the_command_line(fitted, tmp_path):
    paths = [fitted / "healthy"]
    Detector("pump7", seconds=2).fit(paths).save(tmp_path / "pump7")
    verdicts = Detector.load(tmp_path / "pump7").score([fitted / "new"])
    assert verdicts == Detector.load(fitted / "banks" / "pump").score([fitted / "new"])
    assert [verdict.start for verdict in verdicts][:3] == [0.0, 1.0, 2.0]


def test_samples_in_memory_are_judged_as_those_of_a_file(fitted, tmp_path):
    detector = Detector.load(fitted / "banks" / "pump")
    for rate in (RATE, 48_000):
        sound = with_tone(hum(5.3, seed=7), 1.0, 2.0)
        path = write(tmp_path / f"{rate}.wav", sound, rate)
        samples, _ = soundfile.read(path, dtype="int16")
        from_file = [replace(verdict, file="") for verdict in detector.score(path)]
        for array in (samples, samples / 32768, samples.astype(np.int32) * 65536):
            assert [replace(v, file="") for v in detector.score_samples(array, rate)] == from_file
    assert detector.score_samples(sound, RATE, "line 3")[0].file == "line 3"


@pytest.mark.parametrize(
    ("samples", "rate", "says"),
    [
        (np.zeros((10, 2)), RATE, "one channel"),
        ([], RATE, "at least one"),
        ([0.1, np.nan], RATE, "not finite"),
        ([0.1, 1e25], RATE, "beyond every level"),
        (np.zeros(10, bool), RATE, "float, int16 or int32"),
        (np.zeros(10), 0, "sample rate"),
    ],
)
def test_samples_that_are_none_are_refused_by_name(fitted, samples, rate, says):
    with pytest.raises(InputError, match=says):
        Detector.load(fitted / "banks" / "pump").score_samples(samples, rate)


def test_an_array_in_place_of_a_path_is_refused_by_name(fitted):
    detector = Detector.load(fitted / "banks" / "pump")
    sound = hum(2.0)
    for work in (detector.score, detector.fit, detector.add, detector.explain):
        with pytest.raises(InputError, match=r"of type (ndarray|float32).*score_samples\(samples, rate\)"):
            work(sound)
    with pytest.raises(InputError, match="of type int"):
        detector.score(3)


@pytest.mark.parametrize("far", [5, 0, -1, 1.0, float("nan")])
def test_a_rate_that_is_none_is_refused(fitted, far):
    with pytest.raises(InputError, match="between 0 and 1"):
        Detector.load(fitted / "banks" / "pump").decide(far=far)


@pytest.mark.parametrize(("seconds", "hop"), [(0, None), (-1, None), (float("inf"), None), (2, 3), (float("nan"), 1)])
def test_a_window_that_is_none_is_refused(fitted, seconds, hop):
    with pytest.raises(InputError, match="hop must be above 0"):
        Detector(seconds=seconds, hop=hop).fit(fitted / "healthy")


def test_a_machine_is_learned_from_arrays_as_from_their_files(tmp_path):
    sounds = [hum(4.0, seed=seed) for seed in range(12)]
    for number, sound in enumerate(sounds):
        soundfile.write(tmp_path / f"{number:05d}.wav", sound, RATE, subtype="FLOAT")
    settings = ["model.embedding=logmel_stats"]
    ours = Detector("pump", seconds=2.0, settings=settings).fit_samples(sounds, RATE)
    files = Detector("pump", seconds=2.0, settings=settings).fit(tmp_path)
    assert np.array_equal(ours.machine_.bank.vectors, files.machine_.bank.vectors)
    assert [row.file for row in ours.machine_.bank.rows] == [row.file for row in files.machine_.bank.rows]
    assert ours.score_samples(hum(4.0, seed=50), RATE) == files.score_samples(hum(4.0, seed=50), RATE)
    with pytest.raises(InputError, match="one channel"):
        Detector("pump", seconds=2.0, settings=settings).fit_samples([np.zeros((2, RATE))], RATE)


def test_endless_sound_is_judged_window_by_window_whatever_its_blocks(fitted):
    detector = Detector.load(fitted / "banks" / "pump")
    sound = hum(7.3, seed=60)
    whole = detector.score_samples(sound, RATE, "live")
    for size in (700, 16_000, 50_001):
        blocks = [sound[i : i + size] for i in range(0, len(sound), size)]
        assert list(detector.score_blocks(blocks, RATE)) == whole

    def endless():
        yield sound[: 3 * RATE]
        raise AssertionError("the first window was there before more was asked for")

    assert next(detector.score_blocks(endless(), RATE)) == whole[0]
