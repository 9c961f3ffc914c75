"""What turns tokens into a loss over labels, used while training and then dropped: a pooling and an angular head."""

import math
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

# the published scale falls to 0 and below where labels are few and far apart; at 1.5, opposite directions are 95 % sure
_LEAST_SCALE = 1.5


class AttentiveStatistics(nn.Module):
    """Attentive statistics pooling (Okabe et al., Interspeech 2018) and a projection.

    The statistics are normalised over the batch between the two, as ECAPA-TDNN does (Desplanques et al., Interspeech
    2020): what all clips have in common, most of a token, would otherwise drown what tells them apart.
    """

    def __init__(self, dimension: int, out: int = 256, hidden: int = 128) -> None:
        super().__init__()
        self.attention = nn.Sequential(nn.Linear(dimension, hidden), nn.Tanh(), nn.Linear(hidden, 1))
        self.norm = nn.BatchNorm1d(2 * dimension)
        self.projection = nn.Linear(2 * dimension, out)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return embeddings float[B, out] of tokens float[B, P, D]: weighted mean and deviation, projected."""
        weights = self.attention(tokens).softmax(dim=1)
        mean = (weights * tokens).sum(dim=1)
        variance = (weights * (tokens - mean[:, None]).square()).sum(dim=1)
        embedding: Tensor = self.projection(self.norm(torch.cat([mean, (variance + 1e-5).sqrt()], dim=1)))
        return embedding


class AngularHead(nn.Module):
    """Sub-centres per label on the unit sphere; a clip may be a mixture of two labels.

    adacos: the softmax runs over all sub-centres and a label's probability is the sum of its own; the scale adapts to
    the batch (AdaCos, Zhang et al., CVPR 2019, eqs. 9-11; sub-clusters: Wilkinghoff, IJCNN 2021).
    arcface: the nearest sub-centre counts, with an angular margin (Deng et al., CVPR 2019, ECCV 2020).
    """

    scale: Tensor

    def __init__(
        self,
        dimension: int,
        labels: int,
        kind: Literal["adacos", "arcface"] = "adacos",
        *,
        subcentres: int = 16,
        scale: float = 30.0,
        margin: float = 0.3,
    ) -> None:
        super().__init__()
        self.kind, self.margin = kind, margin
        self.centres = nn.Parameter(torch.randn(labels, subcentres, dimension) / math.sqrt(dimension))
        published = math.sqrt(2.0) * math.log(labels * subcentres - 1)
        start = max(published, _LEAST_SCALE) if kind == "adacos" else scale
        self.register_buffer("scale", torch.tensor(start))

    def forward(self, embeddings: Tensor, first: Tensor, second: Tensor, share: Tensor) -> Tensor:
        """Return the mean loss of a batch, in float32 whatever the autocast.

        Args:
            embeddings: float[B, dimension].
            first: Label of each clip, int64[B].
            second: Label of what was mixed in, int64[B].
            share: Share of the first, float32[B] in 0..1.
        """
        with torch.autocast(embeddings.device.type, enabled=False):
            centres = functional.normalize(self.centres, dim=-1)
            cosines = torch.einsum("bd,lkd->blk", functional.normalize(embeddings.float(), dim=-1), centres)
            if self.kind == "arcface":
                losses = share * self._margin_loss(cosines, first) + (1 - share) * self._margin_loss(cosines, second)
                return losses.mean()
            if self.training:
                self._adapt(cosines.detach(), first, second, share)
            logits = self.scale.clone() * cosines
            chances = logits.logsumexp(dim=2) - logits.logsumexp(dim=(1, 2))[:, None]
            losses = share * chances.gather(1, first[:, None])[:, 0]
            losses = losses + (1 - share) * chances.gather(1, second[:, None])[:, 0]
            return -losses.mean()

    def _margin_loss(self, cosines: Tensor, labels: Tensor) -> Tensor:
        nearest = cosines.amax(dim=2).clamp(-1 + 1e-6, 1 - 1e-6)
        own = functional.one_hot(labels, nearest.shape[1]).bool()
        moved = torch.cos((nearest.acos() + self.margin).clamp(max=math.pi))
        return functional.cross_entropy(self.scale * torch.where(own, moved, nearest), labels, reduction="none")

    @torch.no_grad()
    def _adapt(self, cosines: Tensor, first: Tensor, second: Tensor, share: Tensor) -> None:
        targets = torch.zeros(cosines.shape[:2], device=cosines.device)
        targets.scatter_add_(1, first[:, None], share[:, None])
        targets.scatter_add_(1, second[:, None], 1 - share[:, None])
        others = (1 - targets)[:, :, None] * torch.exp(self.scale * cosines)
        own = (targets * cosines.amax(dim=2).clamp(-1, 1).acos()).sum(dim=1)
        angle = own.median().clamp(max=math.pi / 4)
        published = others.sum(dim=(1, 2)).mean().log() / angle.cos()
        self.scale.copy_(published.clamp(min=_LEAST_SCALE))
