"""The metric against scikit-learn, its properties, and its intervals."""

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from echobank.errors import InputError
from echobank.evaluation.intervals import (
    jackknife_over_machines,
    measure_intervals,
    official_ci95,
    resample,
    student_quantile,
)
from echobank.evaluation.metrics import (
    evaluate_labelled,
    harmonic_mean,
    machine_areas,
    official_parts,
    roc_areas,
)
from echobank.evaluation.truth import LabelledScores


def clips(seed=0, n=60, machine="fan", levels=9, domains=("source", "target")) -> LabelledScores:
    """Clips whose scores tie often, because `levels` is small."""
    rng = np.random.default_rng(seed)
    anomaly = np.arange(n) % 2 == 1
    return LabelledScores(
        machine,
        "00",
        tuple(f"section_00_{i:04d}.wav" for i in range(n)),
        rng.integers(0, levels, n) / 7 + 0.3 * anomaly,
        rng.integers(0, 2, n).astype(np.int8),
        anomaly,
        np.array([domains[(i // 2) % len(domains)] for i in range(n)]),
    )


@pytest.mark.parametrize("levels", [1, 2, 9, 10**6])
@pytest.mark.parametrize("n", [2, 3, 21, 400])
def test_areas_equal_scikit_learn_with_and_without_ties_and_weights(levels, n):
    rng = np.random.default_rng(n + levels)
    anomaly = np.arange(n) % 2 == 1
    scores = rng.integers(0, levels, n) / 3 + 0.2 * anomaly * rng.random(n).round(1)
    weights = rng.integers(0, 4, (5, n)).astype(float)
    weights[:, :2] += 1
    auc, pauc = roc_areas(scores, anomaly, ~anomaly, weights)
    for row, a, p in zip(weights, auc, pauc, strict=True):
        assert a == pytest.approx(roc_auc_score(anomaly, scores, sample_weight=row), abs=1e-12)
        assert p == pytest.approx(roc_auc_score(anomaly, scores, sample_weight=row, max_fpr=0.1), abs=1e-12)


def test_each_domain_is_set_against_all_anomalies():
    item = clips()
    source, target, pauc = machine_areas(item, np.ones((1, 60)))[0]
    for value, domain in ((source, "source"), (target, "target")):
        chosen = item.anomaly | (item.domains == domain)
        assert value == pytest.approx(roc_auc_score(item.anomaly[chosen], item.scores[chosen]), abs=1e-12)
    assert pauc == pytest.approx(roc_auc_score(item.anomaly, item.scores, max_fpr=0.1), abs=1e-12)


def test_figures_depend_on_the_ranks_only_and_not_on_the_order():
    item = clips(levels=1000)
    order = np.random.default_rng(1).permutation(60)
    shuffled = replace(
        item,
        names=tuple(item.names[i] for i in order),
        scores=np.exp(3 * item.scores[order]) - 7,
        decisions=item.decisions[order],
        anomaly=item.anomaly[order],
        domains=item.domains[order],
    )
    first, second = evaluate_labelled([item]), evaluate_labelled([shuffled])
    assert first.machines == second.machines
    assert first.official_score == second.official_score


def test_decisions_count_within_a_domain():
    item = clips()
    here = item.domains == "target"
    hits = int((here & item.anomaly & (item.decisions == 1)).sum())
    target = evaluate_labelled([item]).machines[0].target
    precision, recall = hits / (here & (item.decisions == 1)).sum(), hits / (here & item.anomaly).sum()
    assert (target.precision, target.recall) == pytest.approx((precision, recall))
    assert target.f1 == pytest.approx(2 * precision * recall / (precision + recall))
    silent = replace(item, decisions=np.zeros(60, np.int8))
    assert evaluate_labelled([silent]).machines[0].target.f1 == 0.0
    assert math.isnan(evaluate_labelled([replace(item, decisions=None)]).machines[0].target.f1)


def test_what_cannot_be_computed_is_left_out_by_name():
    both, one = clips(machine="fan"), clips(machine="valve", domains=("source",))
    evaluation = evaluate_labelled([both, one])
    parts = official_parts(evaluation.machines)
    assert math.isnan(parts[1, 1])
    assert evaluation.official_score == pytest.approx(harmonic_mean(np.delete(parts.ravel(), 4)))
    assert len(evaluation.notes) == 1 and "valve" in evaluation.notes[0] and "target" in evaluation.notes[0]
    with pytest.raises(InputError, match="normal and anomalous"):
        evaluate_labelled([replace(one, anomaly=np.zeros(60, bool))])
    assert np.isnan(roc_areas(one.scores, np.zeros(60, bool), np.zeros(60, bool), np.ones((2, 60)))).all()


def test_a_worst_figure_floors_the_harmonic_mean():
    assert harmonic_mean(np.array([0.0, 1.0])) == pytest.approx(4.44e-16, rel=1e-2)
    assert math.isnan(harmonic_mean(np.array([math.nan])))


def test_draws_keep_the_make_up_and_follow_the_seed():
    item = clips()
    weights = resample(item, seed=3, draws=50)
    for domain in ("source", "target"):
        for anomaly in (False, True):
            here = (item.domains == domain) & (item.anomaly == anomaly)
            assert (weights[:, here].sum(axis=1) == here.sum()).all()
    assert np.array_equal(weights, resample(item, seed=3, draws=50))
    assert not np.array_equal(weights, resample(item, seed=4, draws=50))
    other = clips(seed=5, machine="valve")
    alone, together = (measure_intervals(items, draws=20).machines for items in ([item], [other, item]))
    assert alone[0] == together[1]


def test_bootstrap_interval_covers_the_truth_about_as_often_as_it_says():
    """AUC of two unit normals one apart is Phi(1/sqrt 2) = 0.760; 60 intervals at 95 % should miss it about 3 times."""
    inside = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        item = clips(seed, n=120, domains=("source",))
        item = replace(item, scores=rng.normal(size=120) + item.anomaly)
        interval = measure_intervals([item], draws=300).machines[0][0]
        inside += interval.low <= 0.7602 <= interval.high
    assert 50 <= inside <= 60


def test_too_few_clips_have_no_interval():
    intervals = measure_intervals([clips(n=120, levels=1000), clips(n=8, machine="valve")], draws=50)
    fan, valve = intervals.machines
    assert all(i.low < i.high for i in fan)
    assert all(math.isnan(i.low) for i in (*valve, intervals.score_over_clips))


@pytest.mark.parametrize("freedom", [1, 2, 5, 100, 5000])
@pytest.mark.parametrize("share", [0.5, 0.95, 0.975])
def test_quantiles_are_those_of_students_distribution(share, freedom):
    assert student_quantile(share, freedom) == pytest.approx(stats.t.ppf(share, freedom), rel=1e-12, abs=1e-12)


def test_jackknife_over_machines_equals_the_formula():
    parts = np.random.default_rng(0).uniform(0.4, 0.9, (7, 3))
    interval = jackknife_over_machines(parts, list("abcdefg"))
    without = np.array([harmonic_mean(np.delete(parts, i, axis=0)) for i in range(7)])
    error = math.sqrt(6 / 7 * ((without - without.mean()) ** 2).sum())
    assert (interval.high - interval.low) / 2 == pytest.approx(2.446911851 * error)  # Student's t, 6 degrees, 0.975
    assert math.isnan(jackknife_over_machines(parts[:1], ["a"]).low)


def test_official_ci95_equals_leaving_out_one_clip_at_a_time():
    item = clips(n=40)
    keep = [np.arange(40) != i for i in range(40)]
    spread = [
        np.std([roc_auc_score(item.anomaly[k], item.scores[k], max_fpr=fpr) for k in keep], ddof=1)
        for fpr in (None, 0.1)
    ]
    assert official_ci95([item]) == pytest.approx(2.022690920 * np.mean(spread) / math.sqrt(40))  # t, 39 degrees
