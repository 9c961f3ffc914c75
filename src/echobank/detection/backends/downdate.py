"""Principal axes of a bank without one row, from those with it.

Taking row x away (from the mean of n) changes the scatter matrix by one term, `S - n / (n - 1) x x'`. On the axes of S
that is `diag(s) - rho u u'`, whose eigenvalues m solve `1 = rho sum_k u_k^2 / (s_k - m)`, one between each two s
(Golub, SIAM Review 15, 1973). Its eigenvectors are `u_k / (s_k - m)`, so that x is seen along each of them by the same
sums, and no matrix is decomposed again.
"""

import numpy as np

from echobank.detection.backends.base import Float64

_STEPS = 60  # at most; seven are usual
_CLOSE = 1e-12  # share of the distance to the nearer s by which the last step may move a root
_ROUNDING = 2.0**-50
_LEAST = 1e-28  # share of the largest s that u_k^2 is raised to, so that no root falls onto an s


def residuals_without_own(scatter: Float64, along: Float64, lengths: Float64, variance: float) -> Float64:
    """Return the residual of each row from mean and leading axes of the others, float64[n].

    Args:
        scatter: Scatter of the n rows along their principal axes, float64[r], descending.
        along: The rows about their mean on these axes, float64[n, r].
        lengths: Their squared lengths about the mean, float64[n].
        variance: Share of the scatter that the leading axes explain; the fewest that do so are taken.
    """
    count = len(along)
    grown = count / (count - 1)
    if not len(scatter):
        return np.asarray(grown * np.sqrt(lengths))  # all rows are the same
    total, below = np.cumsum(scatter), np.cumsum(np.append(scatter[1:], 0.0))  # root j lies above s_{j + 1}
    residuals = np.empty(count)
    for row, u in enumerate(along):
        lost = grown * (u @ u)
        wanted = variance * (total[-1] - lost)
        most = min(int(np.searchsorted(np.maximum(below, total - lost), wanted)) + 1, len(scatter))
        weights = grown * np.maximum(u * u, _LEAST * scatter[0])
        gaps, slopes = _roots(scatter, weights, most)
        leading = int(np.searchsorted(np.cumsum(scatter[:most] - gaps), wanted)) + 1
        residuals[row] = grown**2 * lengths[row] - (grown / slopes[:leading]).sum()
    return np.asarray(np.sqrt(np.maximum(residuals, 0)))


def _roots(scatter: Float64, weights: Float64, most: int) -> tuple[Float64, Float64]:
    """Return how far each of the `most` largest roots lies below its s, and `sum_k weights_k / (s_k - m)^2` there.

    Both sums, over the s above a root and over those below, are replaced by a constant and one pole with the same value
    and slope, until the root of that stays (Bunch, Nielsen and Sorensen, Numerische Mathematik 31, 1978).
    """
    room = scatter[:most] - np.append(scatter[1:], 0.0)[:most]
    apart = scatter - scatter[:most, None]
    above = np.tri(most)
    own, lower = weights[:most], np.append(weights[1:], 0.0)[:most]
    low, high, gap = np.zeros(most), room.copy(), room / 2
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        far = 1 - (weights / (apart + gap[:, None])).sum(axis=1) + own / gap - lower / (room - gap)
        gap = _between(_root(far, own, lower, room), low, high)
        for _ in range(_STEPS):
            reach = apart + gap[:, None]
            part = weights / reach
            np.divide(part, reach, out=reach)
            value, slopes = 1 - part.sum(axis=1), reach.sum(axis=1)
            up_slope = np.einsum("jk,jk->j", reach[:, :most], above)
            down_slope = slopes - up_slope
            low, high = np.where(value < 0, gap, low), np.where(value < 0, high, gap)
            far = value + up_slope * gap - down_slope * (room - gap)
            step = _root(far, up_slope * gap**2, down_slope * (room - gap) ** 2, room)
            done = np.abs(step - gap) <= np.maximum(_CLOSE * np.minimum(gap, room - gap), _ROUNDING * gap)
            gap = np.where(done, gap, _between(step, low, high))
            if (done | (room <= 0)).all():
                break
        slopes = (weights / (apart + gap[:, None]) ** 2).sum(axis=1)
    return gap, np.where(np.isfinite(slopes), slopes, np.inf)


def _root(far: Float64, left: Float64, right: Float64, room: Float64) -> Float64:
    """Return the root of `far - left / x + right / (room - x)` between 0 and room."""
    middle = far * room + left + right
    spread = np.sqrt(np.maximum(middle**2 - 4 * far * left * room, 0))
    return np.where(middle > 0, 2 * left * room / (middle + spread), (middle - spread) / (2 * far))


def _between(step: Float64, low: Float64, high: Float64) -> Float64:
    return np.where((step >= low) & (step <= high), step, (low + high) / 2)
