"""Leave-one-out scores of a bank that has grown: only what the new rows can have changed is searched again."""

import numpy as np
from numpy.typing import NDArray

from echobank.detection.bank import Bank
from echobank.detection.header import Scoring
from echobank.detection.leave_one_out import SelfScores
from echobank.detection.search import Index

Int64 = NDArray[np.int64]

_SLACK = 1e-9  # share by which a row may be nearer than it was measured, many times the error of a distance


def grown_scores(before: Bank, after: Bank, places: Int64, scoring: Scoring) -> SelfScores | None:
    """Return the scores of the grown bank's rows, as a search of the whole bank gives them; None where only that can.

    With nearest neighbours a new row changes the score of an old one only if it is nearer than its k-th neighbour. That
    one is no farther than `k s - (k - 1) d`, with s the old score, a mean of k distances, and d the least of them.

    Args:
        before: The bank with its scores.
        after: The bank with more rows, none of which is of a group that was there.
        places: Where each row of `before` lies in `after`, int64[N].
        scoring: How both are scored.
    """
    own, groups = before.own, after.groups
    new = np.setdiff1d(np.arange(len(after)), places)
    known = own is not None and own.nearest is not None and own.distances is not None
    if scoring.backend != "knn" or not known or after.vectors.shape[1] != 1 or not len(new):
        return None
    if np.isin(groups[new], groups[places]).any():
        return None
    assert own is not None and own.nearest is not None and own.distances is not None
    scores, distances, nearest = np.empty(len(after)), np.empty(len(after)), np.empty(len(after), np.int64)
    scores[places], distances[places], nearest[places] = own.scores, own.distances, places[own.nearest]
    reach = Index(after.vectors[new], scoring.metric).nearest(before.vectors, 1)[0][:, 0, 0]
    farthest = scoring.k * own.scores - (scoring.k - 1) * own.distances
    again = np.concatenate([new, places[reach <= farthest * (1 + _SLACK)]])
    index = Index(after.vectors, scoring.metric, after.lengths)
    found, rows = index.nearest(after.vectors[again], scoring.k, groups[again], groups)
    scores[again], distances[again], nearest[again] = found.mean(axis=(1, 2)), found[:, 0, 0], rows[:, 0, 0]
    return SelfScores(scores, nearest=nearest, distances=distances)
