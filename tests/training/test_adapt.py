"""A handful of clips: folds, ways, the choice; no clip is judged by a bank that holds it."""

import numpy as np
import pytest

from echobank.detection.bank import Bank, Row
from echobank.detection.fitted import ScoringSettings
from echobank.errors import BankError, InputError
from echobank.training.adaptation import (
    ADDED,
    DENSITY,
    ENLARGED,
    NOTHING,
    Way,
    assess,
    choose,
    enlarge,
    leave_one_out,
    merge_banks,
    new_bank,
)

KNN = ScoringSettings(backend="knn", metric="euclidean", k=1)


def bank_of(vectors, domain="source", prefix="known"):
    rows = tuple(Row(f"{prefix}_{i}.wav", "pump", domain=domain, group=f"{prefix}{i}") for i in range(len(vectors)))
    return Bank(vectors.astype(np.float32)[:, None], rows)


@pytest.fixture
def scene():
    """Known clips about the origin, new ones far off and wider, changed copies beside the new ones."""
    rng = np.random.default_rng(0)
    known = bank_of(rng.standard_normal((80, 6)))
    new = rng.standard_normal((10, 6)) + 12 * np.eye(6)[0]
    rows = [Row(f"new_{i}.wav", "other", group=f"new{i}") for i in range(10)]
    changed = (new[:, None] + 2.5 * rng.standard_normal((10, 3, 6)))[:, :, None].astype(np.float32)
    return known, new_bank(new.astype(np.float32)[:, None], rows, known), changed


def test_new_clips_become_target_rows_of_the_known_machine(scene):
    known, new, _ = scene
    assert {(row.machine, row.domain) for row in new.rows} == {("pump", "target")}
    assert len(merge_banks(NOTHING, known, new)) == 80 and len(merge_banks(ADDED, known, new)) == 90


def test_each_fold_leaves_out_one_clip(scene):
    known, new, changed = scene
    folds = leave_one_out(known, new, changed)
    assert len(folds) == 10
    for fold, row, copies in zip(folds, new.rows, changed, strict=True):
        assert row not in fold.kept.rows and len(fold.kept) == 9
        assert np.array_equal(fold.changed, copies) and fold.left_out.shape == (1, 1, 6)


def test_adding_the_clips_beats_doing_nothing_where_the_state_is_new(scene):
    folds = leave_one_out(*scene)
    nothing, added = assess(NOTHING, folds, KNN), assess(ADDED, folds, KNN)
    assert nothing.false_alarms == 1.0 and nothing.auc_new < 0.8
    assert added.auc_new > nothing.auc_new + 0.05 and added.false_alarms < 1
    best, why = choose([nothing, added])
    assert best is added and why.startswith("added: ") and "next is nothing" in why


def test_doing_nothing_wins_ties():
    rng = np.random.default_rng(1)
    known, new = bank_of(rng.standard_normal((40, 4))), rng.standard_normal((6, 4))
    rows = [Row(f"n{i}.wav", "pump", group=f"n{i}") for i in range(6)]
    far = np.full((6, 2, 1, 4), 50, np.float32)
    folds = leave_one_out(known, new_bank(new.astype(np.float32)[:, None], rows, known), far)
    outcomes = [assess(way, folds, KNN) for way in (NOTHING, ADDED)]
    assert choose(outcomes)[0].way is NOTHING


def test_enlarged_rows_are_mixtures_in_the_group_of_their_new_row(scene):
    known, new, _ = scene
    more = enlarge(known, new)
    assert len(more) == 50 and all(row.augmentation for row in more.rows)
    assert [row.group for row in more.rows[:5]] == [new.rows[0].group] * 5
    rest = (more.vectors[0] - 0.9 * new.vectors[0]) / 0.1
    assert np.abs(known.vectors - rest).max(axis=(1, 2)).min() < 1e-4


@pytest.mark.parametrize("way", [ENLARGED, DENSITY])
def test_the_other_ways_hear_the_new_state_too(scene, way):
    outcome = assess(way, leave_one_out(*scene), KNN)
    assert not outcome.problem and outcome.auc_new > 0.7 and outcome.value > 0.5


def test_a_way_that_cannot_be_judged_is_told_and_never_chosen(scene):
    folds = leave_one_out(*scene)
    large = ScoringSettings(backend="knn", metric="euclidean", k=500)
    broken, fine = assess(Way("broken"), folds, large), assess(ADDED, folds, KNN)
    assert broken.problem and broken.value == 0 and choose([broken, fine])[0] is fine
    with pytest.raises(BankError, match="no way of adapting could be judged"):
        choose([broken])


def test_one_clip_is_too_few(scene):
    known, new, changed = scene
    with pytest.raises(InputError, match="two or more new clips"):
        leave_one_out(known, new.select(np.array([0])), changed[:1])
