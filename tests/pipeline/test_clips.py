"""Clips as sources: they go to other processes, and read the same there."""

import pickle

import numpy as np
import pytest
import soundfile

from echobank.data.augment import Augmentation
from echobank.data.index import ClipIndex, LogmelCache
from echobank.models.logmel import KALDI_128, logmel
from echobank.pipeline.clips import ClipReader, Noises


@pytest.mark.parametrize("channel", [0, 1])
def test_sources_of_clips_go_to_other_processes(tmp_path, channel):
    path = tmp_path / "a.wav"
    soundfile.write(path, np.random.default_rng(0).normal(0, 0.1, (16000, 2)), 16000)
    cache = LogmelCache(tmp_path / "cache", KALDI_128)
    reader = ClipReader(16000, channel, logmel, ClipIndex(tmp_path / "cache"), cache)
    change = Augmentation("pitch", 1.0)
    sources = [reader.source(path, allow_silent=False), reader.augmented(path, change, Noises((), ""), 0)]
    for source in sources:
        (here,), (there,) = source.pieces(), pickle.loads(pickle.dumps(source)).pieces()
        assert here.identity == there.identity and len(here.identity) == 64
        np.testing.assert_array_equal(here.features, there.features)
