"""The listener: recordings as sources of windows, embeddings with and without profiles."""

import pickle

import numpy as np
import pytest

from echobank.machines.listener import Listener
from echobank.machines.window_sources import WindowSource
from echobank.models.pooling import Pooling
from echobank.models.registry import load_encoder
from tests.machines.sounds import hum, write


def test_sources_of_windows_go_to_other_processes(tmp_path):
    path = tmp_path / "a.wav"
    write(path, np.zeros(4000))
    source = pickle.loads(pickle.dumps(WindowSource(path, 0.1, 0.1, 16000, 0)))
    assert [piece.facts.start for piece in source.pieces()] == pytest.approx([0.0, 0.1, 0.15])


@pytest.mark.parametrize("name", ["logmel_stats", "spectrum"])
def test_embeddings_do_not_depend_on_whether_profiles_are_wanted(tmp_path, name):
    paths = [write(tmp_path / f"{i}.wav", hum(1.0 + i, seed=i)) for i in range(4)]
    listener = Listener(load_encoder(name), Pooling(), seconds=1.0, hop=0.5)
    for whole, plain in zip(listener.hear(paths), listener.hear(paths, profiles=False), strict=True):
        np.testing.assert_array_equal(whole.vectors, plain.vectors)
        assert whole.profiles.shape == (len(whole), 2, 128) and plain.profiles.shape == (len(plain), 2, 0)
