"""Labels: attributes, hidden attributes, refusal of a single label."""

from pathlib import Path

import numpy as np
import pytest

from echobank.data.dcase import Recording
from echobank.errors import InputError
from echobank.training.labels import hidden, label_clips


def clip(machine, domain="source", *attributes):
    return Recording(Path("x.wav"), machine, "00", "train", domain, "normal", attributes)


def test_labels_are_machine_attributes_and_domain():
    clips = [
        clip("fan", "source", ("m-n", "W")),
        clip("fan", "target", ("m-n", "W")),
        clip("fan", "source", ("m-n", "X")),
        clip("valve", "source", ("pat", "00")),
        clip("fan", "source", ("m-n", "W")),
    ]
    labels = label_clips(clips, None)
    assert not hidden(clips) and len(labels) == 4
    assert labels.of[0] == labels.of[4] and len(set(labels.of[:4])) == 4
    assert labels.names[labels.of[1]] == "fan_section_00 target m-n=W"


def test_hidden_attributes_become_clusters_of_each_domain():
    rng = np.random.default_rng(0)
    clips = [clip("fan")] * 30 + [clip("fan", "target")] * 10 + [clip("valve", "source", ("pat", "00"))]
    centres = rng.standard_normal((3, 8)) * 5
    vectors = np.concatenate([centres[np.arange(30) % 3], rng.standard_normal((11, 8))]).astype(np.float32)
    vectors += 0.01 * rng.standard_normal(vectors.shape).astype(np.float32)
    assert hidden(clips)
    labels = label_clips(clips, vectors, source_clusters=3, target_clusters=1)
    assert len(labels) == 5
    assert [len(set(labels.of[i:30:3])) for i in range(3)] == [1, 1, 1] and len(set(labels.of[30:40])) == 1
    again = label_clips(clips, vectors, source_clusters=3, target_clusters=1)
    assert (again.of == labels.of).all()


def test_identical_clips_make_one_cluster():
    with pytest.raises(InputError, match="at least two labels"):
        label_clips([clip("fan")] * 9, np.ones((9, 4), np.float32))


def test_one_machine_with_one_label_is_refused_with_the_reason():
    with pytest.raises(InputError, match=r"there is one: 'fan_section_00 source m-n=W'.*add machines"):
        label_clips([clip("fan", "source", ("m-n", "W"))] * 5, None)
