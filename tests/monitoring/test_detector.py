"""The Python way: the same bank, scores and words as the command line."""

import pytest

from echobank import Detector
from echobank.errors import InputError
from echobank.monitoring.machine import open_machine
from echobank.monitoring.score import score_stream


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
