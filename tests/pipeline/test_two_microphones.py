"""A DCASE run of two microphones: data.channel=w1 from synth to the score, never mixed with a channel alone."""

import numpy as np
import pytest
import soundfile

from echobank.cli import main
from echobank.data.two_microphones import near_minus_far
from echobank.detection.bank import load_bank
from echobank.models.encoders.level import load
from tests.pipeline.conftest import Project

BANK = "banks/fan_section_00.safetensors"


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    root = tmp_path_factory.mktemp("two")
    words = ["--machines", "fan", "--train-source", "6", "--train-target", "2", "--test", "2", "--supplemental", "2"]
    words += ["--seconds", "1", "--workers", "1"]
    for kind, channels in (("stereo", "2"), ("reduced", "2")):
        assert main(["synth", "--out", str(root / kind), *words, "--channels", channels]) == 0
    for path in (root / "reduced").rglob("*.wav"):  # the same clips, reduced before echobank sees them
        both, rate = soundfile.read(path, dtype="float32", always_2d=True)
        soundfile.write(path, near_minus_far(both[:, 0], both[:, 1], rate), rate, subtype="FLOAT")
    return root


@pytest.fixture
def stereo(recordings, tmp_path):
    return Project(recordings / "stereo", tmp_path / "stereo")


def tables(project):
    return {name: text for name, text in project.outputs().items() if name.endswith(".csv")}


@pytest.mark.parametrize(
    "settings",
    [(), ("model.embedding=level", "scoring.metric=euclidean"), ("augmentation.enabled=true",)],
    ids=["logmel", "level", "augmented"],
)
def test_the_scores_are_those_of_clips_that_were_reduced_before(stereo, recordings, tmp_path, settings):
    assert stereo.all("data.channel=w1", *settings) == [0, 0, 0]
    made = load_bank(stereo.results / BANK).header.provenance
    assert made.channel.identity == "w1" and made.to_header()["channel"] == "w1"
    before = Project(recordings / "reduced", tmp_path / "before")
    assert before.all(*settings) == [0, 0, 0]
    if settings != ("augmentation.enabled=true",):  # copies are seeded by the content of the file
        assert tables(stereo) == tables(before)
        np.testing.assert_array_equal(
            load_bank(stereo.results / BANK).vectors, load_bank(before.results / BANK).vectors
        )


@pytest.mark.parametrize(("fitted", "scored"), [("0", "w1"), ("w1", "0"), ("1", "w1")])
def test_a_bank_of_the_one_does_not_score_the_other(stereo, capsys, fitted, scored):
    assert stereo.all(f"data.channel={fitted}") == [0, 0, 0]
    before = stereo.outputs()
    capsys.readouterr()
    assert stereo.run("infer", f"data.channel={scored}") == 2
    said = capsys.readouterr().err
    words = {"0": "0", "1": "1", "w1": "'w1'"}
    assert f"channel is {words[fitted]} in the bank and {words[scored]} here" in said
    assert stereo.outputs() == before


def test_the_cache_keeps_them_apart(stereo, tmp_path):
    """Runs that share a cache give what runs with caches of their own give, whatever came first."""
    wanted = {}
    for channel in ("0", "w1"):
        alone = Project(stereo.root, tmp_path / channel)
        assert alone.all(f"data.channel={channel}") == [0, 0, 0]
        wanted[channel] = alone.outputs()
    assert wanted["0"].keys() == wanted["w1"].keys() and wanted["0"][BANK] != wanted["w1"][BANK]
    for channel in ("0", "w1", "0"):
        stereo.results = stereo.folder / f"results {channel}"
        assert stereo.all(f"data.channel={channel}") == [0, 0, 0]
        assert stereo.outputs() == wanted[channel]


def test_recordings_of_one_microphone_are_one_clear_line(project, capsys):
    assert project.run("preprocess", "data.channel=w1") == 2
    assert "w1 needs a near and a far microphone (channels 0 and 1)" in capsys.readouterr().err


@pytest.mark.parametrize("value", ["w2", "-1", "1.5", "true", "null", "[0, 1]"])
def test_what_is_no_channel_is_refused_with_what_is(project, capsys, value):
    assert project.run("preprocess", f"data.channel={value}") == 2
    said = capsys.readouterr().err
    assert "data.channel" in said and "w1" in said and "Traceback" not in said


def test_level_hears_the_reduced_sound_at_its_own_rate(tmp_path):
    from echobank.data.audio import read_clip
    from echobank.models.encoder import Sourced

    rng = np.random.default_rng(0)
    far = 0.1 * rng.standard_normal(44_100)
    sound = np.stack([0.5 * far + 0.01 * rng.standard_normal(44_100), far], axis=1)
    soundfile.write(tmp_path / "a.wav", sound, 44_100, subtype="FLOAT")
    clip = read_clip(tmp_path / "a.wav", channel="w1", source=True)
    (token,) = load(None, tmp_path, "cpu", "fp32", False).tokens([Sourced(clip.samples, clip.source, 44_100)])
    assert float(token.ravel()[0]) == pytest.approx(clip.rms_dbfs, abs=1e-4)
    assert float(token.ravel()[0]) == pytest.approx(-40, abs=0.5)
