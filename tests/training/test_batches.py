"""Batches: a function of seed and step alone; domains, mixing, masks."""

import pytest

pytest.importorskip("torch", reason="no torch")

import dataclasses
from pathlib import Path

import numpy as np
import torch

from echobank.data.dcase import Recording
from echobank.training.batches import BatchSettings, Sampler, crop, mask_logmel

RATE = 1000
SETTINGS = BatchSettings(size=6, seconds=0.5, seed=3)


def sampler(settings=SETTINGS, noisy=True):
    clips = [
        Recording(Path(f"{i}.wav"), "fan", "00", "train", "target" if i < 2 else "source", "normal") for i in range(20)
    ]
    noise = Recording(Path("99.wav"), "fan", "00", "supplemental", "unknown", "unknown", role="noise")

    def load(recording):
        number = int(recording.path.stem)
        return np.random.default_rng(number).standard_normal(700 if number % 2 else 300).astype(np.float32)

    return Sampler(clips, np.arange(20), {"fan": [noise]} if noisy else {}, load, RATE, settings)


def test_a_batch_depends_on_seed_and_step_alone():
    late = sampler().batch(5)
    for step in range(5):
        sampler().batch(step)
    again = sampler().batch(5)
    assert np.array_equal(late.waveforms, again.waveforms) and torch.equal(late.share, again.share)
    other = sampler(dataclasses.replace(SETTINGS, seed=4)).batch(5)
    assert not np.array_equal(late.waveforms, other.waveforms)
    assert late.waveforms.shape == (6, 500) and late.waveforms.dtype == np.float32 and late.first.dtype == torch.int64


def test_mixing_is_linear_and_only_mixed_clips_have_a_second_label():
    batches = [sampler().batch(step) for step in range(10)]
    share = torch.cat([batch.share for batch in batches])
    same = torch.cat([batch.first == batch.second for batch in batches])
    assert 0.3 < float((share < 1).float().mean()) < 0.7
    assert bool(same[share == 1].all()) and not bool(same[share < 1].all())


def test_without_changes_a_batch_is_pieces_of_the_clips():
    plain = dataclasses.replace(SETTINGS, mixup=0.0, noise=0.0, pitch=0.0)
    drawer = sampler(plain)
    batch = drawer.batch(0)
    for waveform, label in zip(batch.waveforms, batch.first, strict=True):
        clip = drawer.load(drawer.recordings[int(label)])
        assert set(waveform) <= set(clip)


@pytest.mark.parametrize(("oversample", "low", "high"), [(1.0, 0.03, 0.2), (10.0, 0.4, 0.65)])
def test_target_clips_are_oversampled(oversample, low, high):
    drawer = sampler(dataclasses.replace(SETTINGS, oversample=oversample, pitch=0.0, noise=0.0))
    labels = torch.cat([drawer.batch(step).first for step in range(50)])
    assert low < float((labels < 2).float().mean()) < high


def test_a_machine_without_noise_clips_hears_none():
    quiet = dataclasses.replace(SETTINGS, noise=1.0, pitch=0.0, mixup=0.0)
    assert np.abs(sampler(quiet, noisy=False).batch(1).waveforms).max() < 5
    assert not np.array_equal(sampler(quiet, noisy=False).batch(1).waveforms, sampler(quiet).batch(1).waveforms)


def test_a_short_clip_is_repeated():
    piece = crop(np.arange(10, dtype=np.float32), 25, np.random.default_rng(0))
    assert (np.diff(piece) % 10 == 1).all() and len(piece) == 25


def test_masks_are_no_longer_than_asked_and_hold_the_mean():
    torch.manual_seed(0)
    logmel = torch.randn(40, 50, 128)
    masked = mask_logmel(logmel, (0.2, 0.1), np.random.default_rng(0))
    changed = masked != logmel
    frames, bins = changed.all(dim=2).sum(dim=1), changed.all(dim=1).sum(dim=1)
    assert 0 < int(frames.max()) <= 10 and 0 < int(bins.max()) <= 12
    assert torch.allclose(masked[changed], logmel.mean(dim=(1, 2))[:, None, None].expand_as(logmel)[changed])
    assert torch.equal(mask_logmel(logmel, (0.0, 0.0), np.random.default_rng(0)), logmel)
