"""States: each is scored by a bank that never heard it, whatever the back-end learned."""

import dataclasses

import numpy as np
import pytest

from echobank.detection.backends import make_backend
from echobank.detection.backends.knn import Knn
from echobank.detection.bank import Bank, Row
from echobank.detection.fitted import ScoringSettings, fallen_back, fit_detector, remembering
from echobank.detection.states import FOLDS, state_scores, states_of
from echobank.errors import BankError, InputError


def bank_of(attributes, seed=0, groups=None, domains=None):
    rng = np.random.default_rng(seed)
    vectors = rng.standard_normal((len(attributes), 2, 5)).astype(np.float32) + 1
    rows = tuple(
        Row(f"{i}", "m", domain=domains[i] if domains else "source", attributes=a, group=groups[i] if groups else "")
        for i, a in enumerate(attributes)
    )
    return Bank(vectors, rows)


def made(name):
    return lambda: make_backend(name, k=1, metric="cosine", params={})


def test_a_state_is_its_attributes_in_any_order_and_a_clip_without_them_is_alone():
    bank = bank_of([{"a": "1", "b": "2"}, {"b": "2", "a": "1"}, {"a": "1"}, {}, {}])
    states = states_of(bank)
    assert states[0] == states[1] and len(set(states)) == 4


@pytest.mark.parametrize("name", ["knn", "ldn", "varmin", "domain_ld", "domain_z", "mahalanobis", "pca"])
def test_each_row_is_scored_by_a_back_end_fitted_without_its_state(name):
    attributes = [{"speed": str(i % 4)} for i in range(24)]
    bank = bank_of(attributes, domains=["target" if i % 3 == 0 else "source" for i in range(24)])
    found = state_scores(bank, made(name))
    for i in range(24):
        others = np.array([j for j in range(24) if j % 4 != i % 4])
        alone = Bank(bank.vectors[others], tuple(bank.rows[j] for j in others))
        np.testing.assert_allclose(found[i], made(name)().fit(alone).score(bank.vectors[i : i + 1])[0], rtol=1e-6)


def test_clips_without_attributes_are_left_out_one_by_one():
    bank = bank_of([{}] * 20)
    np.testing.assert_allclose(state_scores(bank, made("knn")), made("knn")().fit(bank).self_scores(), rtol=1e-6)


DEFAULT = ScoringSettings(k=1, decision="transport", leave_out="state")
SPEEDS = [{"speed": str(i % 4)} for i in range(40)]


def test_decisions_of_the_default_leave_states_out():
    detector = fit_detector(bank_of(SPEEDS), DEFAULT)
    assert [(t.method, t.states) for t in detector.thresholds] == [("transport", 4)]
    assert fallen_back(DEFAULT, detector.thresholds) == ""


def test_a_bank_of_one_state_is_decided_on_by_clips_and_says_so():
    bank = bank_of([{"speed": "1"}] * 40)
    detector = fit_detector(bank, DEFAULT)
    by_clips = fit_detector(bank, dataclasses.replace(DEFAULT, leave_out="clip"))
    assert detector.thresholds == by_clips.thresholds
    assert "one operating state" in fallen_back(DEFAULT, detector.thresholds)
    assert fallen_back(by_clips.settings, by_clips.thresholds) == ""


def test_a_bank_of_a_few_clips_is_decided_on_by_gamma_and_says_so():
    bank = bank_of(SPEEDS[:6])
    detector = fit_detector(bank, DEFAULT)
    assert [t.method for t in detector.thresholds] == ["gamma"]
    assert "6 clips support no false-alarm rate of 0.1" in fallen_back(DEFAULT, detector.thresholds)
    again = fit_detector(remembering(detector), DEFAULT)
    assert again.thresholds == detector.thresholds


@pytest.mark.parametrize("other", [{"leave_out": "clip"}, {"decision": "quantile"}])
def test_what_was_asked_for_is_refused_where_the_bank_does_not_support_it(other):
    with pytest.raises((BankError, InputError)):
        fit_detector(bank_of([{"speed": "1"}] * 6), dataclasses.replace(DEFAULT, **other))


def test_a_copy_of_a_clip_leaves_with_it_whatever_its_attributes_say():
    groups = ["same", "same", *[f"{i}" for i in range(10)]]
    bank = bank_of([{"a": str(i)} for i in range(12)], groups=groups)
    vectors = bank.vectors.copy()
    vectors[1] = vectors[0]
    copied = Bank(vectors, bank.rows)
    assert state_scores(copied, made("knn"))[:2].min() > 1e-3


def test_many_states_are_left_out_several_at_a_time():
    fitted = []

    def make():
        fitted.append(1)
        return made("knn")()

    bank = bank_of([{"a": str(i)} for i in range(3 * FOLDS)])
    several = state_scores(bank, make)
    assert len(fitted) == FOLDS
    assert (several >= made("knn")().fit(bank).self_scores() - 1e-9).all()


def test_one_state_is_refused():
    with pytest.raises(BankError, match="one operating state"):
        state_scores(bank_of([{"a": "1"}] * 5), made("knn"))


def test_a_detector_takes_its_thresholds_from_them_and_remembers_them():
    bank = bank_of([{"speed": str(i % 10)} for i in range(60)])
    settings = ScoringSettings(k=1, decision="quantile", false_alarm_rate=0.2, leave_out="state")
    detector = fit_detector(bank, settings)
    assert [t.states for t in detector.thresholds] == [10]
    kept = remembering(detector)
    np.testing.assert_array_equal(kept.own.states, state_scores(bank, made("knn")))
    np.testing.assert_array_equal(kept.own.scores, made("knn")().fit(bank).self_scores())
    assert (kept.header.scoring, kept.header.thresholds) == (settings, detector.thresholds)
    assert remembering(fit_detector(bank, ScoringSettings(decision="quantile"))).own.states is None


def test_what_a_bank_remembers_is_not_computed_again_unless_it_is_asked_for_something_else(monkeypatch):
    settings = ScoringSettings(k=1, decision="quantile", false_alarm_rate=0.2)
    first = fit_detector(bank_of([{}] * 30), settings)
    kept = remembering(first)
    computed = []
    real = Knn.self_scores
    monkeypatch.setattr(Knn, "self_scores", lambda self: computed.append(1) or real(self))
    again = fit_detector(kept, settings)
    assert not computed and again.thresholds == first.thresholds and again.own is kept.own
    other = fit_detector(kept, dataclasses.replace(settings, k=2))
    assert computed and not np.array_equal(other.own.scores, again.own.scores)
