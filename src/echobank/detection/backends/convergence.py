"""Models of scikit-learn without its convergence warnings: scores do not need full convergence."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

_lock = Lock()
_holders = 0


@contextmanager
def without_notices() -> Iterator[None]:
    """Leave out notices of convergence until the block ends, in whatever thread.

    Filters count for the process. `warnings.catch_warnings` puts back the whole list, which loses what another thread
    changed meanwhile; this adds one filter with the first block that opens and takes out that one with the last.
    """
    from sklearn.exceptions import ConvergenceWarning

    global _holders
    ours = ("ignore", None, ConvergenceWarning, None, 0)  # as `warnings.simplefilter` writes it
    with _lock:
        if not _holders:
            warnings.simplefilter("ignore", ConvergenceWarning)
        _holders += 1
    try:
        yield
    finally:
        with _lock:
            _holders -= 1
            if not _holders and ours in warnings.filters:
                warnings.filters.remove(ours)  # type: ignore[attr-defined]
