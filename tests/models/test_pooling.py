"""Pooling: against the formulas token by token, and what must not change the result."""

import numpy as np
import pytest

from echobank.errors import ConfigError
from echobank.models.pooling import POOLINGS, Pooling, pool, pool_together
from tests.requirements import needs


def slow(tokens, name, p=3.0, gamma=10.0, r=0.4):
    """Pool a list of tokens, float64[D] each, by the formula."""
    n = len(tokens)
    mean = sum(tokens) / n
    if name == "mean":
        return mean
    if name == "max":
        return np.array([max(t[d] for t in tokens) for d in range(len(mean))])
    if name == "gem":
        return (sum(np.maximum(t, 0) ** p for t in tokens) / n) ** (1 / p)
    far = [np.sqrt(((t - mean) ** 2).sum()) for t in tokens]
    if name == "gwrp":
        weights = np.zeros(n)
        weights[np.argsort(-np.array(far), kind="stable")] = [r**i for i in range(n)]
    else:
        weights = np.array([(1 + (f / max(far) if max(far) else 0)) ** gamma for f in far])
    weights = weights / weights.sum()
    if name == "rdp_gem":
        return sum(w * np.maximum(t, 0) ** p for w, t in zip(weights, tokens, strict=True)) ** (1 / p)
    return sum(w * t for w, t in zip(weights, tokens, strict=True))


@pytest.mark.parametrize("bands", [False, True])
@pytest.mark.parametrize("name", POOLINGS)
@pytest.mark.parametrize("shape", [(1, 1, 4), (7, 3, 5), (9, 1, 6)])
def test_it_is_the_formula(name, bands, shape):
    tokens = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    sets = [tokens[:, h] for h in range(shape[1])] if bands else [tokens.reshape(-1, shape[2])]
    expected = np.stack([slow(list(x.astype(np.float64)), name, **POOLINGS[name].defaults) for x in sets])
    found = pool(tokens, Pooling(name, bands))
    assert found.dtype == np.float32 and found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=2e-6, atol=1e-6)


@needs("torch")
@pytest.mark.parametrize("bands", [False, True])
@pytest.mark.parametrize(
    ("name", "params"), [*((name, {}) for name in POOLINGS), ("gwrp", {"r": 1}), ("gem", {"p": 0.5})]
)
def test_clips_pooled_together_are_those_pooled_alone(name, params, bands):
    tokens = np.random.default_rng(3).standard_normal((4, 9, 3, 5)).astype(np.float32)
    tokens[1, 4] = tokens[1, 2]
    tokens[2] = 0
    import torch

    pooling = Pooling(name, bands, params)
    together = pool_together(torch.from_numpy(tokens), pooling)
    assert together.dtype == torch.float32
    np.testing.assert_allclose(together, np.stack([pool(clip, pooling) for clip in tokens]), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("name", POOLINGS)
def test_the_order_of_tokens_does_not_matter_and_equal_tokens_are_themselves(name):
    rng = np.random.default_rng(1)
    tokens = rng.random((8, 2, 5)).astype(np.float32)
    tokens[3] = tokens[1]
    mixed = rng.permutation(tokens.reshape(-1, 5)).reshape(8, 2, 5)
    np.testing.assert_allclose(pool(mixed, Pooling(name)), pool(tokens, Pooling(name)), atol=1e-6)
    two = tokens[:2, :1]  # equally far from their mean
    np.testing.assert_allclose(pool(two[::-1], Pooling(name)), pool(two, Pooling(name)), atol=1e-6)
    same = np.broadcast_to(tokens[:1, :1], (6, 2, 5)).astype(np.float32)
    np.testing.assert_allclose(pool(same, Pooling(name)), same[0, :1], rtol=1e-6)
    assert not pool(np.zeros((4, 2, 5), np.float32), Pooling(name)).any()


@pytest.mark.parametrize("name", POOLINGS)
def test_louder_tokens_give_a_vector_louder_by_as_much(name):
    tokens = np.random.default_rng(2).standard_normal((9, 2, 5)).astype(np.float32)
    np.testing.assert_allclose(pool(3 * tokens, Pooling(name)), 3 * pool(tokens, Pooling(name)), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["mean", "rdp", "gwrp"])  # max and powers belong to the axes
def test_turning_all_tokens_turns_the_vector(name):
    rng = np.random.default_rng(3)
    tokens, turn = rng.standard_normal((9, 2, 5)), np.linalg.qr(rng.standard_normal((5, 5)))[0]
    turned = pool((tokens @ turn).astype(np.float32), Pooling(name))
    np.testing.assert_allclose(turned, pool(tokens.astype(np.float32), Pooling(name)) @ turn, atol=1e-5)


def test_large_parameters_do_not_overflow():
    tokens = np.full((20, 1, 3), 1e20, np.float32)
    for pooling in (Pooling("gem", params={"p": 50}), Pooling("rdp_gem", params={"gamma": 2000, "p": 50})):
        np.testing.assert_allclose(pool(tokens, pooling), 1e20, rtol=1e-6)


@pytest.mark.parametrize(
    ("name", "params", "words"),
    [
        ("maen", {}, "did you mean mean"),
        ("rdp", {"gama": 1}, "did you mean gamma"),
        ("mean", {"p": 3}, "allowed: none"),
        ("gem", {"p": 0}, "above 0"),
        ("gem", {"p": "3"}, "above 0"),
        ("gem", {"p": float("nan")}, "above 0"),
        ("gwrp", {"r": 1.5}, "up to 1"),
    ],
)
def test_what_does_not_exist_is_refused(name, params, words):
    with pytest.raises(ConfigError, match=words):
        Pooling(name, params=params)


def test_defaults_are_filled_in():
    assert Pooling("rdp_gem", params={"p": 4}).params == {"gamma": 9.0, "p": 4.0}
