"""Scores and thresholds of stored banks and queries are those of the version before (tests/golden/before)."""

import json

import numpy as np
import pytest

from tests.golden.before import backends
from tests.golden.before.places import HERE


def same(new, old, where):
    """Fail unless arrays agree to 1e-12; near 0 (a z-score may be) to 1e-13 of the largest."""
    largest = np.abs(old).max(initial=0)
    np.testing.assert_allclose(new, old, rtol=1e-12, atol=1e-13 * largest, err_msg=where)


@pytest.fixture(scope="module")
def scores():
    return backends.read_scores(HERE)


@pytest.fixture(scope="module")
def answers():
    return json.loads((HERE / "thresholds.json").read_text())


@pytest.mark.parametrize("metric", backends.METRICS)
@pytest.mark.parametrize("name", backends.BANKS)
def test_every_backend(name, metric, scores, answers):
    bank, queries = backends.open_bank(HERE, name)
    for text in backends.names(name):
        key = f"{name} {text} {metric}"
        found = backends.arrays(bank, queries, text, metric)
        if isinstance(found, str):
            assert found == answers[key], key
            continue
        assert {f"{key} {what}" for what in found} == {k for k in scores if k.startswith(f"{key} ")}, key
        for what, values in found.items():
            same(values, scores[f"{key} {what}"], f"{key} {what}")


def test_every_threshold(scores, answers):
    """From the stored scores: methods, rates and clips or states left out, with p-values and decisions."""
    asked = {key: old for key, old in answers.items() if isinstance(old, dict)}
    assert len(asked) > 20
    for key, old in asked.items():
        bank, _ = backends.open_bank(HERE, key.partition(" ")[0])
        found = {what: scores[f"{key} {what}"] for what in ("scores", "self", "states")}
        new = json.loads(json.dumps(backends.thresholds(bank, found)))
        np.testing.assert_array_equal(new.pop("p"), old["p"])
        for method, answer in new.items():
            where = f"{key} {method}"
            if isinstance(answer, str):
                assert answer == old[method], where
                continue
            assert answer["unknown"] == old[method]["unknown"], where
            assert answer["target"] == old[method]["target"], where
            for one, other in zip(answer["thresholds"], old[method]["thresholds"], strict=True):
                assert (one[0], one[4:]) == (other[0], other[4:]), where
                same(one[1:4], other[1:4], where)
