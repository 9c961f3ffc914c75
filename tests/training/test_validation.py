"""Validation: what is held out, and the ratio of distances to own and other labels."""

import numpy as np

from echobank.training.validation import hold_out, neighbour_ratio, validation_set


def test_a_share_of_each_large_label_is_held_out_and_small_ones_keep_theirs():
    labels = np.repeat([0, 1, 2], [40, 20, 5])
    held = hold_out(labels, 0.1, 0)
    assert np.bincount(labels[held], minlength=3).tolist() == [4, 2, 0]
    assert (held == hold_out(labels, 0.1, 0)).all() and not np.array_equal(held, hold_out(labels, 0.1, 1))


def test_the_set_has_the_queries_first_and_a_clip_of_each_label():
    labels = np.repeat([0, 1, 2], [100, 100, 2])
    held = hold_out(labels, 0.1, 0)
    chosen, queries = validation_set(labels, held, 60, 0)
    assert len(chosen) == len(set(chosen)) == 60 and set(chosen[:queries]) == set(held)
    assert 2 in labels[chosen[queries:]]
    everyone, queries = validation_set(labels, held[:0], 50, 0)
    assert len(everyone) == queries == 50


def test_the_ratio_is_as_worked_out_by_hand():
    vectors = np.array([[1, 0], [0, 1], [1, 1], [-1, 0]], np.float32)
    labels = np.array([0, 1, 0, 1])
    own, other = 1 - 2**-0.5, 1.0  # of the first clip; a clip is never its own neighbour
    assert np.isclose(neighbour_ratio(vectors, labels, 1), own / (own + other))


def test_separate_labels_are_near_nothing_and_random_ones_near_a_half():
    rng = np.random.default_rng(0)
    labels = np.arange(60) % 3
    apart = 10 * np.eye(3)[labels] + 0.1 * rng.standard_normal((60, 3))
    assert neighbour_ratio(apart.astype(np.float32), labels, 60) < 0.01
    assert 0.4 < neighbour_ratio(rng.standard_normal((60, 8)).astype(np.float32), labels, 60) < 0.65
    assert neighbour_ratio(np.ones((3, 2), np.float32), np.arange(3), 3) == 0.5
