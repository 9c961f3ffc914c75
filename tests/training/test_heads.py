"""Heads: the losses against their formulas, the adaptive scale, gradients, mixtures."""

import pytest

pytest.importorskip("torch", reason="no torch")

import math

import torch
from torch.nn import functional as F

from echobank.training.heads import AngularHead, AttentiveStatistics


def batch(labels=5, dimension=16, size=6):
    torch.manual_seed(0)
    first = torch.arange(size) % labels
    return torch.randn(size, dimension), first, (first + 1) % labels, torch.full((size,), 0.7)


def loss_of(head, *arguments):
    return head(*arguments).item()


def cosines(head, embeddings):
    return torch.einsum("bd,lkd->blk", F.normalize(embeddings, dim=-1), F.normalize(head.centres, dim=-1))


def test_adacos_is_the_share_of_the_labels_own_sub_centres():
    embeddings, first, _, _ = batch()
    head = AngularHead(16, 5, subcentres=4).eval()
    chances = (head.scale * cosines(head, embeddings)).flatten(1).softmax(dim=1).reshape(6, 5, 4).sum(dim=2)
    expected = -chances.gather(1, first[:, None]).log().mean()
    assert loss_of(head, embeddings, first, first, torch.ones(6)) == pytest.approx(expected.item(), abs=1e-5)


def test_adacos_scale_starts_and_adapts_as_published():
    embeddings, first, _, _ = batch()
    head = AngularHead(16, 5, subcentres=1)
    start = math.sqrt(2) * math.log(4)
    assert float(head.scale) == pytest.approx(start)
    angles = cosines(head, embeddings).detach()[:, :, 0]
    others = torch.ones(6, 5).scatter(1, first[:, None], 0.0)
    mean = (others * (start * angles).exp()).sum(dim=1).mean()
    median = angles.gather(1, first[:, None])[:, 0].acos().median().clamp(max=math.pi / 4)
    head(embeddings, first, first, torch.ones(6))
    assert float(head.scale) == pytest.approx((mean.log() / median.cos()).item(), rel=1e-5)
    adapted = float(head.scale)
    head.eval()(embeddings, first, first, torch.ones(6))
    assert float(head.scale) == adapted


def test_arcface_is_cross_entropy_with_the_margin_on_the_own_label():
    embeddings, first, _, _ = batch()
    head = AngularHead(16, 5, "arcface", subcentres=3, scale=30.0, margin=0.3)
    logits = cosines(head, embeddings).amax(dim=2)
    moved = torch.cos(logits.acos() + 0.3)
    logits = 30.0 * torch.where(F.one_hot(first, 5).bool(), moved, logits)
    expected = F.cross_entropy(logits, first).item()
    assert loss_of(head, embeddings, first, first, torch.ones(6)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("kind", ["adacos", "arcface"])
def test_a_mixture_is_the_mixture_of_the_losses(kind):
    embeddings, first, second, share = batch()
    head = AngularHead(16, 5, kind).eval()
    alone = [loss_of(head, embeddings, labels, labels, torch.ones(6)) for labels in (first, second)]
    assert loss_of(head, embeddings, first, second, share) == pytest.approx(0.7 * alone[0] + 0.3 * alone[1], rel=1e-5)


@pytest.mark.parametrize("kind", ["adacos", "arcface"])
def test_it_learns_to_tell_labels_apart(kind):
    torch.manual_seed(0)
    pooling, head = AttentiveStatistics(8, 12, 4), AngularHead(12, 3, kind, subcentres=2)
    labels = torch.arange(3).repeat(4)
    tokens = torch.randn(12, 20, 8) + 2 * torch.randn(3, 1, 8)[labels]
    optimizer = torch.optim.AdamW([*pooling.parameters(), *head.parameters()], lr=1e-2)
    losses = []
    for _ in range(60):
        optimizer.zero_grad()
        loss = head(pooling(tokens), labels, labels, torch.ones(12))
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.5 * losses[0] and math.isfinite(float(head.scale))


@pytest.mark.parametrize("subcentres", [1, 16])
def test_two_labels_keep_a_scale_that_tells_them_apart(subcentres):
    torch.manual_seed(0)
    head = AngularHead(8, 2, subcentres=subcentres)
    labels = torch.arange(2).repeat(4)
    embeddings = torch.tensor([-1.0, 1.0])[labels, None] * torch.ones(8, 8)
    with torch.no_grad():
        head.centres.copy_(torch.tensor([-1.0, 1.0])[:, None, None].expand_as(head.centres))
    for _ in range(3):
        loss = head(embeddings, labels, labels, torch.ones(8))
    assert float(head.scale) >= 1.5 and float(loss.detach()) < 0.06


def test_pooling_ignores_the_order_of_tokens_and_is_finite_on_equal_ones():
    torch.manual_seed(0)
    pooling = AttentiveStatistics(8).eval()
    tokens = torch.randn(2, 30, 8)
    assert torch.allclose(pooling(tokens), pooling(tokens[:, torch.randperm(30)]), atol=1e-6)
    equal = torch.ones(2, 5, 8, requires_grad=True)
    pooling(equal).sum().backward()
    assert torch.isfinite(equal.grad).all()
