"""Workers: one arithmetic thread each, and no limit is left behind."""

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from echobank.errors import ConfigError
from echobank.models.encoder import EncoderFacts
from echobank.models.feeding import Source, embed
from echobank.models.pooling import Pooling
from echobank.models.workers import single_threaded, start_workers


def threads(kind):
    return {item["num_threads"] for item in threadpool_info() if item["user_api"] == kind}


@pytest.fixture(autouse=True)
def three():
    with threadpool_limits(3, user_api="blas"):
        yield


class Counting:
    """Notes how many threads BLAS may use while it embeds."""

    facts = EncoderFacts("counting", "", 16000, "", 1, 1, 1, engine="numpy")

    def __init__(self, error=None):
        self.seen, self.error = [], error

    def tokens(self, waveforms, layer=None):
        self.seen.append(threads("blas"))
        if self.error:
            raise self.error
        return [np.ones((1, 1, 1), np.float32) for _ in waveforms]


def sources(count=30):
    return [Source(str(i), "", lambda i=i: (str(i), np.zeros(16, np.float32))) for i in range(count)]


@pytest.mark.parametrize("error", [None, ConfigError("no such layer"), KeyboardInterrupt()])
def test_products_are_single_threaded_while_clips_are_embedded_and_the_limit_is_put_back(error):
    encoder = Counting(error)
    if error:
        with pytest.raises(type(error)):
            embed(sources(), encoder, Pooling())
    else:
        embed(sources(), encoder, Pooling())
    assert encoder.seen and all(seen == {1} for seen in encoder.seen)
    assert threads("blas") == {3}


def test_blocks_that_overlap_put_back_what_the_first_one_found():
    first, second = single_threaded(), single_threaded()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert threads("blas") == {1}
    second.__exit__(None, None, None)
    assert threads("blas") == {3}


def test_openmp_is_limited_in_the_workers_only():
    from sklearn.cluster import KMeans  # brings an OpenMP library

    assert KMeans
    with threadpool_limits(3, user_api="openmp"), start_workers(2) as workers:
        assert workers.submit(threads, "openmp").result() == {1}
        assert threads("openmp") == {3}


def test_a_thread_that_cannot_start_ends_the_run_in_place_of_waiting_for_ever(monkeypatch):
    def refuse():
        raise RuntimeError("no thread today")

    monkeypatch.setattr("echobank.models.workers._start_worker", refuse)
    for _ in range(100):  # one thread fails while another is given work
        with pytest.raises(RuntimeError, match="no thread today"):
            embed(sources(), Counting(), Pooling(), workers=2)
