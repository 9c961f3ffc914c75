"""What a student learns: the teachers' targets, the same within a machine, and which machine it is.

The heads are dropped afterwards. Targets are z-scored by the statistics of a few lessons, so that every teacher
and every dimension weighs the same.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from echobank.training.distil_settings import Weights
from echobank.training.heads import AngularHead
from echobank.training.lessons import Lesson
from echobank.training.student import Student
from echobank.training.teachers import Target

_EMBEDDING = 128  # size that the heads of identity and state see
_LEAST = 0.2  # smallest deviation of a dimension, in those of all: one that is almost always 0 must not rule
_LARGEST = 10.0  # deviations


class Objective(nn.Module):
    """Student and heads: a lesson in, the loss out."""

    def __init__(
        self, student: Student, targets: Sequence[Target], labels: tuple[int, int], members: int, weights: Weights
    ) -> None:
        """Build the heads.

        Args:
            student: The student.
            targets: The outputs of the teachers.
            labels: Individuals and operating points.
            members: Clips of each group, which follow one another.
            weights: Of the parts of the loss.
        """
        super().__init__()
        self.student, self.members, self.weights = student, members, weights
        self.heads: Any = nn.ModuleList(_TargetHead(student.config.dimension, target) for target in targets)
        self.embedding = nn.Linear(student.config.dimension, _EMBEDDING)
        self.labelled = nn.ModuleList(AngularHead(_EMBEDDING, count, subcentres=1) for count in labels)

    def calibrate(self, lessons: Sequence[Lesson]) -> None:
        """Set the statistics by which targets are z-scored."""
        for index, head in enumerate(self.heads):
            head.calibrate([lesson[f"target.{index}"] for lesson in lessons], self.members)

    def forward(self, lesson: Lesson) -> Tensor:
        """Return the loss of a lesson."""
        tokens = self.student(lesson["logmel"].float())
        loss = torch.zeros((), device=tokens.device)
        for index, head in enumerate(self.heads):
            overall, within = head(tokens, lesson[f"target.{index}"], self.members)
            loss = loss + (self.weights.overall * overall + self.weights.within * within) / len(self.heads)
        if self.weights.identity:
            embedding = self.embedding(tokens.mean(dim=1))
            for name, head in zip(("identity", "state"), self.labelled, strict=True):
                known = lesson[name] >= 0
                if bool(known.any()):
                    label = lesson[name][known]
                    share = torch.ones(len(label), device=tokens.device)
                    loss = loss + self.weights.identity * head(embedding[known], label, label, share)
        return loss

    @torch.no_grad()
    def explained(self, lessons: Sequence[Lesson]) -> list[tuple[float, float]]:
        """Return the shares of each target's variance in these lessons that are explained, overall and in groups."""
        sums = torch.zeros(len(self.heads), 4)
        for lesson in lessons:
            tokens = self.student(lesson["logmel"].float()).detach()
            for index, head in enumerate(self.heads):
                predicted, wanted = head.compare(tokens, lesson[f"target.{index}"])
                apart, differing = (_centred(_clip_means(values), self.members) for values in (predicted, wanted))
                parts = (predicted - wanted, wanted, apart - differing, differing)
                sums[index] += torch.stack([part.square().mean().cpu() for part in parts])
        shares = 1.0 - sums[:, ::2] / sums[:, 1::2].clamp(min=1e-12)
        return [(float(overall), float(within)) for overall, within in shares]


class _TargetHead(nn.Module):
    """A linear map from tokens to one target. Predicting only means gives a loss of 1, overall and within groups."""

    centre: Tensor
    spread: Tensor
    within: Tensor

    def __init__(self, dimension: int, target: Target) -> None:
        super().__init__()
        self.grid = target.grid
        self.project = nn.Linear(dimension, target.dimension)
        self.register_buffer("centre", torch.zeros(target.dimension))
        self.register_buffer("spread", torch.ones(target.dimension))
        self.register_buffer("within", torch.ones(()))  # variance of z-scored clip means within groups

    def calibrate(self, targets: Sequence[Tensor], members: int) -> None:
        flat = torch.cat([target.flatten(0, -2) for target in targets]).double()
        self.centre.copy_(flat.mean(dim=0))
        spread = flat.std(dim=0)
        self.spread.copy_(spread.clamp(min=max(_LEAST * float(spread.square().mean().sqrt()), 1e-6)))
        deviations = torch.cat([_centred(_clip_means(self._scaled(target)), members) for target in targets])
        self.within.copy_(deviations.square().mean().clamp(min=1e-4))

    def forward(self, tokens: Tensor, target: Tensor, members: int) -> tuple[Tensor, Tensor]:
        predicted, wanted = self.compare(tokens, target)
        apart = _centred(_clip_means(predicted), members) - _centred(_clip_means(wanted), members)
        return functional.mse_loss(predicted, wanted), apart.square().mean() / self.within

    def compare(self, tokens: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Return what the student predicts of the target, and the target, z-scored, of one shape."""
        wanted = self._scaled(target)
        predicted = self.project(tokens).float()  # the order of a BEATs: time, then band
        return predicted.view(wanted.shape) if self.grid else predicted.mean(dim=1), wanted

    def _scaled(self, target: Tensor) -> Tensor:
        return ((target.float() - self.centre) / self.spread).clamp(-_LARGEST, _LARGEST)


def _clip_means(values: Tensor) -> Tensor:
    """Return float[B, D] of float[B, Pt, Pf, D] or float[B, D]."""
    return values.mean(dim=(1, 2)) if values.ndim == 4 else values


def _centred(values: Tensor, members: int) -> Tensor:
    """Return float[B, D] less the mean of each group of `members` clips."""
    groups = values.view(-1, members, values.shape[-1])
    return (groups - groups.mean(dim=1, keepdim=True)).flatten(0, 1)
