"""Mahalanobis distance with the shrunk covariance of Ledoit and Wolf (2004), one centre per domain or one for all."""

from dataclasses import dataclass
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray

from echobank.detection.backends.base import Float32, Float64, RowsOfBank
from echobank.detection.bank import Bank
from echobank.detection.search import points
from echobank.errors import BankError

_LEAST_SHRINKAGE = 1e-6  # two rows get none from Ledoit and Wolf, and then the covariance has no inverse
_LEAST_VARIANCE = 1e-12  # of a bank of one row, or of duplicates only
_RANK = 1e-10  # variances below this share of the largest count as none


@dataclass
class Mahalanobis(RowsOfBank):
    """Least Mahalanobis distance over domains, then mean over bands.

    Leave-one-out is exact: mean, covariance and shrinkage without a group follow from those with it, as taking
    m rows away changes the scatter matrix by m + 1 rank-one terms (Woodbury).

    Attributes:
        k: Not used.
        metric: "cosine" brings the vectors to unit length, "euclidean" takes them as they are.
        selective: Each domain has its own mean and covariance; false makes one of all rows.
        covariance: "domain" is that of each domain; "source" is that of the domain with the most rows for every centre,
            for a target domain of a few rows, which give no useful covariance of their own.
        level: "keep", or "remove": the mean over dimensions is taken from each vector first. With bands in decibels
            that is how loud the clip is.
    """

    k: int = 1
    metric: str = "cosine"
    selective: bool = True
    covariance: Literal["domain", "source"] = "domain"
    level: Literal["keep", "remove"] = "keep"

    def fit(self, bank: Bank) -> Self:
        """Estimate mean and covariance of each domain and band.

        Raises:
            BankError: No domain has the two rows that a shared covariance needs.
        """
        self.bank_ = bank
        self.points_ = self._placed(bank.vectors)
        labels = bank.domains if self.selective else np.full(len(bank), "")
        self.parts_ = [np.flatnonzero(labels == name) for name in np.unique(labels)]
        bands = range(self.points_.shape[1])
        self.models_ = [[Gaussian(self.points_[part, h]) for h in bands] for part in self.parts_]
        self.source_ = int(np.argmax([len(part) for part in self.parts_]))
        self._require_covariance(len(self.parts_[self.source_]))
        return self

    def score(self, embeddings: Float32) -> Float64:
        """Return float64[Q] of float32[Q, H, D]."""
        placed, nothing = self._placed(embeddings), np.zeros(0, np.int64)
        each = [self._distances(placed, number, nothing) for number in range(len(self.parts_))]
        scores: Float64 = np.min(each, axis=0).mean(axis=1)
        return scores

    def self_scores(self) -> Float64:
        """Return float64[N].

        Raises:
            BankError: The bank has one group only, or no two rows are left of the domain that the covariance is of.
        """
        groups = self.bank_.groups
        if groups.max() == 0:
            raise BankError("a bank of one group cannot score itself", value=f"{len(self.bank_)} rows")
        scores, nothing = np.empty(len(self.bank_)), np.zeros(0, np.int64)
        whole = [self._distances(self.points_, number, nothing) for number in range(len(self.parts_))]
        for group in np.unique(groups):
            out = np.flatnonzero(groups == group)
            touched = [np.isin(part, out) for part in self.parts_]
            self._require_covariance(int((~touched[self.source_]).sum()))
            each = [
                self._distances(self.points_[out], number, out)
                if self._depends(number, touched)
                else whole[number][out]
                for number in range(len(self.parts_))
                if not touched[number].all()
            ]
            scores[out] = np.min(each, axis=0).mean(axis=1)
        return scores

    @property
    def shares_covariance(self) -> bool:
        """Whether every centre has the covariance of one domain, `source_`."""
        return self.covariance == "source"

    def _require_covariance(self, rows: int) -> None:
        if self.covariance == "source" and rows < 2:
            raise BankError(
                "a shared covariance needs two rows of one domain", value=rows, hint="add healthy recordings"
            )

    def _depends(self, number: int, touched: list[NDArray[np.bool_]]) -> bool:
        """Return whether the distances to a domain change when rows are left out."""
        return bool(touched[number].any() or (self.covariance == "source" and touched[self.source_].any()))

    def _distances(self, placed: Float64, number: int, out: NDArray[np.int64]) -> Float64:
        """Return the distances to a domain without the bank rows `out`, float64[Q, H], of points float64[Q, H, D]."""
        part, shared = self.parts_[number], self.shares_covariance
        without = np.flatnonzero(np.isin(self.parts_[self.source_] if shared else part, out))
        left = part[~np.isin(part, out)]
        models = self.models_[self.source_ if shared else number]
        columns = [
            model.distances(placed[:, h], without, self.points_[left, h].mean(axis=0) if shared else None)
            for h, model in enumerate(models)
        ]
        return np.stack(columns, axis=1)

    def _placed(self, vectors: Float32) -> Float64:
        placed = points(vectors, self.metric)
        return placed - placed.mean(axis=2, keepdims=True) if self.level == "remove" else placed


@dataclass(frozen=True)
class Spread:
    """A Gaussian as numbers.

    Attributes:
        mean: float64[D].
        axes: Principal axes, float64[r, D].
        variances: Variance along each, float64[r].
        ridge: Variance along every other direction.
    """

    mean: Float64
    axes: Float64
    variances: Float64
    ridge: float


class Gaussian:
    """Mean and shrunk covariance of some rows, kept on the axes of their scatter.

    Args:
        rows: float64[n, D].
    """

    def __init__(self, rows: Float64) -> None:
        self._count, self._dimension = rows.shape
        self._mean = rows.mean(axis=0)
        centred = rows - self._mean
        self._scatter, self._axes = principal_axes(centred)
        self._rows = centred @ self._axes.T
        self._squares = np.einsum("nr,nr->n", self._rows, self._rows)

    def distances(self, x: Float64, without: NDArray[np.int64] | None = None, about: Float64 | None = None) -> Float64:
        """Return the distance of each vector, float64[Q], of float64[Q, D].

        Args:
            x: Vectors.
            without: Positions of rows that are not to count; at least one must be left.
            about: Centre that is measured from, float64[D]; None takes the mean of the rows.
        """
        moved = x - (self._mean if about is None else about)
        z = moved @ self._axes.T
        beside = np.maximum(np.einsum("qd,qd->q", moved, moved) - np.einsum("qr,qr->q", z, z), 0)
        gone = self._rows[[] if without is None else without]
        left = self._count - len(gone)
        centre = -gone.sum(axis=0) / left
        terms = np.concatenate([gone, np.sqrt(left) * centre[None]])
        scale, ridge = self._shrink(left, centre, terms, without)
        z = z - centre if about is None else z
        weighted = terms / (scale * self._scatter + ridge)
        core = np.eye(len(terms)) - scale * (weighted @ terms.T)
        across = z @ weighted.T
        squares = np.einsum("qr,qr->q", z, z / (scale * self._scatter + ridge)) + beside / ridge
        squares += scale * np.einsum("qt,qt->q", across, np.linalg.solve(core, across.T).T)
        distances: Float64 = np.sqrt(np.maximum(squares, 0))
        return distances

    def spread(self) -> Spread:
        """Return mean and shrunk covariance of all rows."""
        nothing = np.zeros(len(self._scatter))
        scale, ridge = self._shrink(self._count, nothing, nothing[None], None)
        return Spread(self._mean, self._axes, scale * self._scatter + ridge, ridge)

    def _shrink(
        self, left: int, centre: Float64, terms: Float64, without: NDArray[np.int64] | None
    ) -> tuple[float, float]:
        """Return a and b of the covariance `a S + b I`, S the scatter matrix of the `left` rows about their mean.

        With mu = tr S / (n D), delta^2 = |S / n - mu I|^2 and beta^2 = sum_i |x_i x_i' - S / n|^2 / n^2, the shrinkage
        is beta^2 / delta^2, at most 1 (Ledoit and Wolf, J. Multivariate Analysis 88, 2004, section 3.2).
        """
        scatter = self._scatter
        trace = scatter.sum() - (terms**2).sum()
        square = (scatter**2).sum() - 2 * (terms**2 @ scatter).sum() + ((terms @ terms.T) ** 2).sum()
        fourth = (self._squares - 2 * (self._rows @ centre) + centre @ centre) ** 2
        fourth[[] if without is None else without] = 0
        mean = max(trace, 0.0) / (left * self._dimension)
        beta = (fourth.sum() / left - square / left**2) / left
        delta = square / left**2 - self._dimension * mean**2
        shrinkage = min(max(beta / delta, _LEAST_SHRINKAGE), 1.0) if delta > 0 else 1.0
        return (1 - shrinkage) / left, max(shrinkage * mean, _LEAST_VARIANCE)


def principal_axes(centred: Float64) -> tuple[Float64, Float64]:
    """Return the scatter along the principal axes, float64[r] descending, and the axes, float64[r, D].

    Args:
        centred: float64[n, D], of mean 0; the smaller of the two Gram matrices is decomposed.
    """
    rows, dimension = centred.shape
    values, vectors = np.linalg.eigh(centred @ centred.T if rows < dimension else centred.T @ centred)
    keep = np.flatnonzero(values > _RANK * max(values[-1], 0.0))[::-1]
    values = values[keep]
    axes = vectors[:, keep].T
    if rows < dimension:
        axes = (axes @ centred) / np.sqrt(values)[:, None]
    return values, axes
