"""Distillation: the student's file, the stream, the teachers, exact resume, the command."""

import pytest

pytest.importorskip("torch", reason="no torch")

import dataclasses
import json

import numpy as np
import soundfile
import torch
from numpy.testing import assert_array_equal

from echobank.cli import main
from echobank.errors import ConfigError, InputError
from echobank.models.beats.checkpoint import read_checkpoint
from echobank.models.beats.model import build
from echobank.models.registry import load_encoder
from echobank.training.distil_settings import STUDENTS
from echobank.training.distillation import DistilSettings, distil
from echobank.training.objective import _centred
from echobank.training.recordings import scan_audio
from echobank.training.streams import StreamSettings, count_labels, draw_batch
from echobank.training.student import Student, write_student
from echobank.training.teachers import load_teachers, student_patches
from tests.training.conftest import SIZES

STREAM = StreamSettings(groups=2, members=2, seconds=(1.0, 1.2), identities=3)


@pytest.fixture
def audio(tmp_path):
    """A folder of two recordings, one of another rate, one shorter than a clip, and one that is not audio."""
    folder = tmp_path / "audio"
    folder.mkdir()
    rng = np.random.default_rng(0)
    soundfile.write(folder / "long.wav", 0.1 * rng.standard_normal((44100 * 2, 2)), 44100)
    soundfile.write(folder / "short.wav", 0.1 * rng.standard_normal(3000), 16000)
    (folder / "text.wav").write_text("no audio")
    return folder


@pytest.fixture
def settings(checkpoint, monkeypatch):
    """A run of seconds: a tiny student, a teacher whose grid agrees and one without a grid."""
    monkeypatch.setitem(STUDENTS, "beats_tiny", SIZES)
    return DistilSettings(
        teachers=(str(checkpoint), "logmel_stats"), clips=16, passes=2.0, ema=0.9, checkpoint_every=3, stream=STREAM
    )


def test_student_is_written_as_an_official_checkpoint(tmp_path):
    student = Student(STUDENTS["beats_tiny"], seed=1)
    with torch.no_grad():  # away from where training starts, so that every tensor matters
        for tensor in student.parameters():
            tensor.add_(0.05 * torch.randn(tensor.shape, generator=torch.Generator().manual_seed(tensor.numel())))
    checkpoint = read_checkpoint(write_student(student, tmp_path / "tiny.pt"))
    logmel = 15 + 6 * torch.randn(2, 100, 128, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        (expected,) = build(checkpoint.config, checkpoint.state)(logmel)
    torch.testing.assert_close(student(logmel).detach(), expected, atol=1e-5, rtol=0)
    assert checkpoint.config == STUDENTS["beats_tiny"]
    assert 1e6 < sum(tensor.numel() for tensor in student.parameters()) < 6e6


def test_every_parameter_of_a_student_learns():
    student = Student(SIZES)
    student(15 + 6 * torch.randn(2, 64, 128)).square().mul(torch.randn(SIZES.dimension)).mean().backward()
    assert all(tensor.grad is not None and bool(tensor.grad.abs().sum() > 0) for tensor in student.tensors)


def test_batch_depends_on_its_number_alone(audio):
    recordings, unusable = scan_audio([audio])
    assert [line.split(": ")[1] for line in unusable] == ["cannot be read as audio"]
    first, again, other = (draw_batch(recordings, STREAM, number) for number in (3, 3, 4))
    assert_array_equal(first.waveforms, again.waveforms)
    assert not np.array_equal(first.waveforms[:, :1000], other.waveforms[:, :1000])
    assert first.waveforms.dtype == np.float32
    assert np.abs(first.waveforms).max() < 1
    for labels, most in zip((first.identity, first.state), count_labels(STREAM), strict=True):
        assert_array_equal(labels[::2], labels[1::2])
        assert ((labels >= -1) & (labels < most)).all()


def test_stream_without_recordings_is_all_machines():
    heard = draw_batch((), STREAM, 0)
    assert (heard.identity >= 0).all()


def test_teachers_tell_tokens_where_grids_agree(checkpoint):
    teachers = load_teachers([str(checkpoint), "logmel_stats"], bands=8)
    assert [(target.grid, target.layer) for target in teachers.targets] == [(True, 2), (False, 1)]
    clips = [np.random.default_rng(i).normal(0, 0.1, 17000).astype(np.float32) for i in range(2)]
    grid, mean = teachers.teach(clips)
    assert grid.shape == (2, student_patches(17000), 8, SIZES.dimension)
    expected = load_encoder("logmel_stats").tokens(clips)[1].mean(axis=(0, 1))
    assert_array_equal(mean[1], expected)


def test_parts_of_a_joined_name_are_teachers_of_their_own():
    joined, apart = (
        load_teachers(names, bands=8) for names in (["spectrum+logmel_stats"], ["spectrum", "logmel_stats"])
    )
    assert joined.targets == apart.targets and len(joined.encoders) == 2


def test_targets_are_centred_within_a_group():
    values = torch.tensor([[1.0], [3.0], [10.0], [10.0]])
    assert _centred(values, 2).flatten().tolist() == [-1.0, 1.0, 0.0, 0.0]


def test_interrupted_run_goes_on_exactly(audio, settings, tmp_path, monkeypatch):
    recordings, _ = scan_audio([audio])
    whole = distil(recordings, settings, tmp_path / "whole")

    def stop_after(items, *, total, label):
        for count, item in enumerate(items):
            if count == 5:
                raise KeyboardInterrupt
            yield item

    with pytest.raises(KeyboardInterrupt):
        distil(recordings, settings, tmp_path / "parts", stop_after)
    parts = distil(recordings, settings, tmp_path / "parts")
    assert parts.journal.losses == whole.journal.losses
    expected, found = (read_checkpoint(result.path).state for result in (whole, parts))
    assert all(torch.equal(tensor, found[name]) for name, tensor in expected.items())
    assert len(list((tmp_path / "whole" / "lessons").rglob("0*.safetensors"))) == settings.lessons
    assert {path.name for path in whole.files} >= {"beats_tiny.json", "journal.json"}
    with pytest.raises(InputError, match="another output folder"):
        distil(recordings, dataclasses.replace(settings, learning_rate=0.5), tmp_path / "parts")


def test_student_learns_what_it_is_told(settings, tmp_path):
    result = distil((), dataclasses.replace(settings, clips=8, passes=30.0, learning_rate=5e-3), tmp_path)
    losses = result.journal.losses
    assert np.mean(losses[-6:]) < 0.8 * np.mean(losses[:6])


def test_bf16_hears_the_same_clips(settings, tmp_path):
    for precision in ("fp32", "bf16"):
        run = dataclasses.replace(settings, clips=4, passes=2.0, precision=precision)
        distil((), run, tmp_path / precision)
    first, second = (
        next((tmp_path / precision / "lessons").rglob("0000000.safetensors")).read_bytes()
        for precision in ("fp32", "bf16")
    )
    assert first == second


def test_bad_requests_are_refused(settings, tmp_path):
    with pytest.raises(ConfigError, match="no such student"):
        distil((), dataclasses.replace(settings, student="beats_huge"), tmp_path)
    with pytest.raises(InputError, match="no teacher"):
        distil((), dataclasses.replace(settings, teachers=()), tmp_path)
    with pytest.raises(InputError, match="no such folder"):
        scan_audio([tmp_path / "absent"])
    with pytest.raises(InputError, match="no recording that can be used"):
        scan_audio([tmp_path])


def test_command(audio, settings, checkpoint, tmp_path, capsys):
    words = ["distil", "--teacher", str(checkpoint), "--audio", str(audio), "--out", str(tmp_path / "weights")]
    small = [
        "--clips",
        "4",
        "--passes",
        "1",
        "--groups",
        "2",
        "--members",
        "2",
        "--seconds",
        "1",
        "1",
        "--device",
        "cpu",
    ]
    assert main([*words, *small]) == 3
    told = capsys.readouterr()
    assert "text.wav" in told.err
    assert "explained" in told.out
    card = json.loads((tmp_path / "weights" / "beats_tiny.json").read_text())
    encoder = load_encoder(tmp_path / "weights" / "beats_tiny.pt")
    assert encoder.facts.weights_sha256 == card["sha256"]
    assert main([*words, "--clips", "0"]) == 2
    assert main([*words, "--seconds", "3", "2"]) == 2
