"""Attention of single clips against softmax written out in float64."""

import pytest

pytest.importorskip("torch", reason="no torch")

import torch

from echobank.models.beats.attention import Solo, attend


def parts(heads, tokens, dtype, size=16):
    torch.manual_seed(0)
    q, k, v = torch.randn(3, heads, tokens, size).to(dtype)
    return q, k, v, torch.rand(heads, tokens, 1) * 2, torch.randn(heads, tokens, tokens)


def exact(q, k, v, gate, bias):
    q, k, v, gate, bias = (part.double() for part in (q, k, v, gate, bias))
    weights = (q @ k.mT / q.shape[-1] ** 0.5 + gate * bias).softmax(dim=-1)
    return (weights @ v).transpose(0, 1).flatten(1)


@pytest.mark.parametrize(
    ("dtype", "emulated", "bound"),
    [(torch.float32, False, 1e-5), (torch.bfloat16, False, 3e-2), (torch.bfloat16, True, 3e-2)],
)
@pytest.mark.parametrize(("heads", "tokens"), [(1, 1), (4, 8), (5, 33), (12, 64)])
def test_a_clip_is_attended_to_as_written(heads, tokens, dtype, emulated, bound):
    q, k, v, gate, bias = parts(heads, tokens, dtype)
    expected = exact(q, k, v, gate, bias)
    solo = Solo(bias, dtype, emulated)
    for _ in range(2):  # the buffers hold what the clip before has left
        found = solo.attend(q, k, v, gate)
        assert found.dtype == dtype and found.shape == (tokens, heads * 16)
        torch.testing.assert_close(found.double(), expected, rtol=0, atol=bound)
    together = attend(q[None], k[None], v[None], gate[None], bias)[0]
    torch.testing.assert_close(together.double(), expected, rtol=0, atol=bound)


def test_values_that_are_not_finite_stay_with_their_clip():
    q, k, v, gate, bias = parts(5, 12, torch.float32)
    solo = Solo(bias, torch.float32)
    assert solo.attend(q * torch.nan, k, v, gate).isnan().all()
    torch.testing.assert_close(solo.attend(q, k, v, gate).double(), exact(q, k, v, gate, bias), rtol=0, atol=1e-5)
