"""The scikit-learn adapter keeps scikit-learn's contract, but for checks that are named with their reason."""

import warnings

import numpy as np
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator

from echobank.machines.sklearn_adapter import NOT_APPLICABLE, BankDetector


def test_it_passes_every_check_that_can_apply():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        results = check_estimator(BankDetector(), on_fail=None, expected_failed_checks=NOT_APPLICABLE)
    failed = {r["check_name"] for r in results if r["status"] == "failed"}
    named = {r["check_name"] for r in results if r["status"] == "xfail"}
    assert failed == set() and named == set(NOT_APPLICABLE)
    assert sum(r["status"] == "passed" for r in results) > 30


def test_it_finds_what_is_far_and_keeps_to_its_rate():
    rng = np.random.default_rng(0)
    healthy, new = rng.standard_normal((200, 8)), rng.standard_normal((400, 8))
    detector = BankDetector(contamination=0.1).fit(healthy)
    assert (detector.predict(healthy[:5] + 20) == -1).all()
    assert 0.04 < (detector.predict(new) == -1).mean() < 0.18
    assert np.array_equal(detector.predict(new) == -1, detector.p_values(new) <= 0.1)
    assert (detector.fit_predict(healthy) == -1).mean() <= 0.1


def test_rows_of_a_group_are_not_each_others_neighbours():
    rows = np.repeat(np.random.default_rng(1).standard_normal((20, 4)), 2, axis=0)
    alone = BankDetector().fit(rows)
    grouped = BankDetector().fit(rows, groups=np.arange(20).repeat(2))
    assert alone.calibration_.scores.max() < 1e-3 < grouped.calibration_.scores.min()


def test_it_takes_part_in_pipelines_and_searches():
    X = np.random.default_rng(2).standard_normal((60, 3))
    search = GridSearchCV(
        make_pipeline(StandardScaler(), BankDetector()),
        {"bankdetector__k": [1, 3]},
        scoring=lambda model, X, y=None: float(model.score_samples(X).mean()),
        cv=2,
    ).fit(X)
    assert search.best_params_["bankdetector__k"] in (1, 3)
