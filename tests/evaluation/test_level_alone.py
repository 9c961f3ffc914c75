"""Level alone beside a result: distances in dB, what is said of them, and the tables that carry the levels."""

import json
import math

import numpy as np
import pytest
from scipy.stats import spearmanr

from echobank.errors import InputError
from echobank.evaluation.level_alone import Levels, level_alone, rank_correlation, read_levels, write_levels
from echobank.evaluation.metrics import evaluate
from echobank.evaluation.truth import ClipTruth

KEY = ("fan", "00")


def clips(count=40, seed=0):
    """Half of the clips anomalous and louder, half of each in either domain."""
    rng = np.random.default_rng(seed)
    truth = {f"{i:02d}.wav": ClipTruth(i % 2 == 1, "source" if i % 4 < 2 else "target") for i in range(count)}
    test = {name: -30 + 6 * clip.anomaly + rng.normal(0, 1) for name, clip in truth.items()}
    return {KEY: truth}, Levels({"a.wav": -30.0, "b.wav": -31.0}, test)


def test_the_score_is_the_distance_to_the_nearest_level_of_the_bank():
    assert Levels({"a": -30.0, "b": -20.0}, {"x": -27.0, "y": -19.0, "z": -40.0}).scores == {
        "x": 3.0,
        "y": 1.0,
        "z": 10.0,
    }


def test_what_is_said_of_scores_that_follow_level_and_of_others():
    truth, levels = clips()
    loud = {KEY: dict(levels.test)}
    found = level_alone({KEY: levels}, loud, truth, evaluate(loud, None, truth))
    alone = {KEY: levels.scores}
    assert found.official_score == evaluate(alone, None, truth).official_score > 0.9
    assert found.correlation > 0.9 and any("follow level" in line for line in found.sentences)
    rng = np.random.default_rng(1)
    blind = {KEY: {name: rng.normal() for name in levels.test}}
    found = level_alone({KEY: levels}, blind, truth, evaluate(blind, None, truth))
    assert "does as well as these scores or better" in " ".join(found.sentences)
    assert not any("follow level" in line for line in found.sentences)
    json.dumps(found.to_values(), allow_nan=False)


def test_without_every_level_nothing_is_said():
    truth, levels = clips()
    scores = {KEY: dict(levels.test)}
    evaluation = evaluate(scores, None, truth)
    fewer = Levels(levels.bank, dict(list(levels.test.items())[1:]))
    for known in ({}, {KEY: fewer}, {KEY: Levels({}, levels.test)}):
        assert level_alone(known, scores, truth, evaluation) is None


def test_tables_come_back_and_damage_is_named(tmp_path):
    _, levels = clips()
    path = write_levels(tmp_path, *KEY, levels)
    again = read_levels(tmp_path)[KEY]
    assert again.bank == levels.bank
    np.testing.assert_allclose(list(again.test.values()), list(levels.test.values()), atol=1e-4)
    for text in (
        "file_name,level_dbfs,where\nx.wav,loud,test\n",
        "file_name,level_dbfs,where\nx.wav,-3,nowhere\n",
        "a\nb\n",
    ):
        path.write_text(text)
        with pytest.raises(InputError, match="not a table of levels"):
            read_levels(tmp_path)


def test_rank_correlation_is_spearmans():
    rng = np.random.default_rng(0)
    a, b = np.round(rng.normal(size=50), 1), np.round(rng.normal(size=50), 1)
    assert rank_correlation(a, b) == pytest.approx(spearmanr(a, b).statistic, abs=1e-12)
    assert math.isnan(rank_correlation([1, 1, 1], [1, 2, 3])) and math.isnan(rank_correlation([1, 2], [2, 1]))
