"""The grid, the comparison in pairs, and what is kept between two studies."""

import csv
import io
import math

import numpy as np
import pytest

from echobank.config import load_config
from echobank.detection.bank import Row, build_bank
from echobank.errors import ConfigError
from echobank.evaluation import score_store
from echobank.evaluation.comparison import RATES, CellScores, StudySet, compare, score_set
from echobank.evaluation.grid import configured, parse_grid
from echobank.evaluation.intervals import bootstrap_parts, resample
from echobank.evaluation.metrics import harmonic_means
from echobank.evaluation.score_store import ScoreStore
from echobank.evaluation.study_table import study_csv, study_markdown

CONFIG = load_config()


def study_set(machine="fan", seed=0, train=40, test=60) -> StudySet:
    rng = np.random.default_rng(seed)
    rows = [Row(f"{i:03d}.wav", machine, domain=("source", "target")[i % 8 == 0]) for i in range(train)]
    vectors = rng.normal(size=(train, 1, 6)).astype(np.float32) + 3
    anomaly = np.arange(test) % 2 == 1
    queries = rng.normal(size=(test, 1, 6)).astype(np.float32) + 3
    queries[anomaly] += rng.normal(size=(anomaly.sum(), 1, 6)).astype(np.float32)
    domains = np.array([("source", "target")[(i // 2) % 2] for i in range(test)])
    return StudySet(build_bank(vectors, rows), queries, tuple(f"{i:03d}.wav" for i in range(test)), anomaly, domains)


def scored(data: StudySet, signal: float, seed=0) -> CellScores:
    scores = np.random.default_rng(seed).normal(size=len(data.names)) + signal * data.anomaly
    return CellScores(scores, {(rate, "source"): 3 for rate in RATES}, (0.1, 0.2), 10)


def test_grid_is_every_combination_and_the_rest_is_the_configuration():
    one = parse_grid(["pooling=mean,gem:p=3,k=1,3", "backend=ldn:form=difference:K=1"], CONFIG)
    assert [cell.values for cell in one] == [
        (pooling, "false", "ldn:form=difference:K=1", "cosine", k)
        for pooling in ("mean", "gem:p=3")
        for k in ("1", "3")
    ]
    assert one[2].pooling.params == {"p": 3} and one[0].backend.params == {"form": "difference", "K": 1}
    assert parse_grid(["k=3,3"], CONFIG) == (configured(CONFIG),)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("poling=mean", "did you mean pooling"),
        ("k=0", "1 or more"),
        ("k=many", "1 or more"),
        ("bands=perhaps", "true, false"),
        ("mean,gem", "axis=value"),
        ("pooling=", "axis=value"),
        ("k=1,k=2", "twice"),
        ("backend=ldn:K", "key=value"),
    ],
)
def test_impossible_grids_say_what_is_possible(text, says):
    with pytest.raises(ConfigError, match=says):
        parse_grid([text], CONFIG)


def test_settings_are_compared_on_the_same_draws():
    sets = [study_set("fan"), study_set("valve", 1)]
    cells = parse_grid(["k=1,2,3,4"], CONFIG)
    same = [scored(data, 0.5, seed) for seed, data in enumerate(sets)]
    better = [CellScores(s.scores + 2.0 * d.anomaly, s.alarms, s.seconds, 20) for s, d in zip(same, sets, strict=True)]
    first, twin, failed, best = compare(cells, [same, same, "too small", better], sets, draws=300)
    assert twin.difference == 0 and twin.difference_over_clips.holds_zero
    assert best.near_best and not first.near_best and not best.difference_over_clips.holds_zero
    assert failed.failure == "too small" and math.isnan(failed.difference)
    weights = [resample(item, seed=0, draws=300) for item in first.evaluation.labelled]
    draws = [
        harmonic_means(bootstrap_parts(result.evaluation.labelled, weights).reshape(300, -1))
        for result in (best, first)
    ]
    low, high = np.quantile(draws[0] - draws[1], [0.025, 0.975])
    assert (best.difference_over_clips.low, best.difference_over_clips.high) == pytest.approx((low, high))
    narrow = best.difference_over_clips.high - best.difference_over_clips.low
    assert narrow < (best.over_clips.high - best.over_clips.low) + (first.over_clips.high - first.over_clips.low)
    assert best.false_alarms[0.1, "source"] == 3 * 2 / 30 and best.peak_bytes == 20
    again = compare(cells[::-1], [better, "too small", same, same], sets, reference=3, draws=300)
    assert again[::-1][0].over_clips == first.over_clips and again[0].difference == best.difference


def test_tables_hold_every_setting_and_parse():
    sets = [study_set()]
    cells = parse_grid(["k=1,2"], CONFIG)
    results = compare(cells, [[scored(sets[0], 1.0)], "the bank | is too small"], sets, draws=50)
    good, failed = csv.DictReader(io.StringIO(study_csv(results)))
    assert float(good["official_score"]) == results[0].evaluation.official_score
    assert good["false_alarms_target_at_0.1"] == "" and float(good["fan_00_pauc"]) > 0
    assert failed["failure"] and not failed["official_score"] and failed["k"] == "2"
    table = [line for line in study_markdown(results, cells[0], ["x"], "s.svg").splitlines() if line[:1] == "|"]
    assert len(table) == 4 and len({line.count("|") for line in table}) == 1
    assert "reference" in table[2] and "not possible" in table[3]


def test_kept_scores_are_used_again_and_a_damaged_file_is_not(tmp_path, monkeypatch):
    data, cell = study_set(), configured(CONFIG)
    first = ScoreStore(tmp_path, "gamma").score(cell, data)
    (path,) = tmp_path.rglob("*.json")

    def refuse(*_):
        raise AssertionError("scored again")

    monkeypatch.setattr(score_store, "score_set", refuse)
    again = ScoreStore(tmp_path, "gamma").score(cell, data)
    assert np.array_equal(again.scores, first.scores)
    assert (again.alarms, again.seconds, again.peak_bytes) == (first.alarms, first.seconds, first.peak_bytes)
    for other, item in ((cell, study_set(seed=1)), (parse_grid(["k=1"], CONFIG)[0], data)):
        with pytest.raises(AssertionError, match="scored again"):
            ScoreStore(tmp_path, "gamma").score(other, item)
    monkeypatch.setattr(score_store, "_code", lambda: "another back-end")
    with pytest.raises(AssertionError, match="scored again"):
        ScoreStore(tmp_path, "gamma").score(cell, data)
    monkeypatch.undo()
    path.write_text("{")
    assert np.array_equal(ScoreStore(tmp_path, "gamma").score(cell, data).scores, first.scores)


def test_false_alarms_rise_with_the_rate_that_is_asked_for():
    alarms = score_set(configured(CONFIG), study_set(), "gamma").alarms
    assert {domain for _, domain in alarms} == {"source", "target"}
    for domain in ("source", "target"):
        counts = [alarms[rate, domain] for rate in RATES]
        assert counts == sorted(counts) and counts[-1] <= 15
