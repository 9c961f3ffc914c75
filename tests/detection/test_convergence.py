"""Notices of convergence are left out while a model is fitted, and nothing else of the process changes."""

import threading
import warnings

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from echobank.detection.backends.convergence import without_notices
from tests.detection.banks import make, make_bank


def test_overlapping_blocks_leave_the_filters_as_they_were_and_keep_those_of_others():
    warnings.simplefilter("ignore", ResourceWarning)  # pytest restores the filters after the test
    before = list(warnings.filters)
    inside, go_on = threading.Event(), threading.Event()

    def other():
        with without_notices():
            inside.set()
            go_on.wait(5)

    thread = threading.Thread(target=other)
    with without_notices():
        thread.start()
        inside.wait(5)
        warnings.simplefilter("ignore", ImportWarning)
    with warnings.catch_warnings(record=True) as said:
        warnings.warn("still left out", ConvergenceWarning, stacklevel=1)
    assert not said
    go_on.set()
    thread.join()
    assert [item for item in warnings.filters if item[2] is ImportWarning][:1]
    assert [item for item in warnings.filters if item[2] is not ImportWarning] == [
        item for item in before if item[2] is not ImportWarning
    ]


def test_models_of_duplicates_say_nothing(recwarn):
    bank = make_bank(40, one_domain=True)
    bank.vectors[:] = np.repeat(bank.vectors[:4], 10, axis=0)
    for name in ("kmeans", "gmm"):
        assert np.isfinite(make(name).fit(bank).self_scores()).all()
    assert not [item for item in recwarn if item.category is ConvergenceWarning]
