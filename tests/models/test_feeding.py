"""Feeding: batches of one length, any order of finishing, interruptions and damage, with a small encoder that tells."""

import random
import time
from itertools import chain

import numpy as np
import pytest

from echobank.errors import AudioError
from echobank.models.embedding_store import EmbeddingStore
from echobank.models.encoder import EncoderFacts
from echobank.models.feeding import Source, embed
from echobank.models.pooling import Pooling
from tests.headers import made

LENGTHS = [320, 160, 320, 480, 160, 320, 320, 480, 160, 320, 640]


class Telling:
    """Tokens are the samples in frames of 16; keeps the batches it was given, and can break off."""

    facts = EncoderFacts("telling", "", 16000, "", 16, 1, 1)

    def __init__(self, breaks_after=1000):
        self.batches, self.left = [], breaks_after

    def tokens(self, waveforms, layer=None):
        if len(self.batches) == self.left:
            raise KeyboardInterrupt
        self.batches.append([len(waveform) for waveform in waveforms])
        return [waveform.reshape(-1, 1, 16) for waveform in waveforms]


def wave(number):
    return np.random.default_rng(number).standard_normal(LENGTHS[number]).astype(np.float32)


def sources(bad=(), pause=0.0):
    def reader(number):
        def read():
            time.sleep(random.random() * pause)
            if number in bad:
                raise AudioError("unusable", where=f"{number}.wav")
            return f"{number:02d}", wave(number)

        return read

    return [Source(f"{number}.wav", f"{number:02d}", reader(number)) for number in range(len(LENGTHS))]


def expected(numbers):
    return np.stack([wave(number).reshape(-1, 16).mean(axis=0, dtype=np.float64)[None] for number in numbers])


@pytest.mark.parametrize("size", [1, 2, 3, 100])
@pytest.mark.parametrize("workers", [1, 5])
def test_batches_have_one_length_and_the_order_is_that_asked_for(size, workers):
    encoder = Telling()
    done = embed(sources(pause=0.01), encoder, Pooling(), batch_size=size, workers=workers)
    assert all(len(set(batch)) == 1 and len(batch) <= size for batch in encoder.batches)
    assert sorted(chain(*encoder.batches)) == sorted(LENGTHS)
    assert done.kept.tolist() == list(range(len(LENGTHS)))
    np.testing.assert_allclose(done.vectors, expected(done.kept), atol=1e-6)


def test_clips_of_one_length_share_batches_though_others_come_between():
    encoder = Telling()
    embed(sources(), encoder, Pooling(), batch_size=2)
    assert len(encoder.batches) == 7  # 320: 5 clips, 160: 3, 480: 2, 640: 1


def test_no_more_clips_wait_than_the_bound(monkeypatch):
    monkeypatch.setattr("echobank.models.scheduler.LOOKAHEAD", 1)
    encoder = Telling()
    embed(sources(), encoder, Pooling(), batch_size=3, workers=1)
    assert encoder.batches[0] == [320, 320]  # three wait, none of its length is full: the oldest goes


def test_a_bad_clip_is_left_out_by_name():
    done = embed(sources(bad=(0, 5)), Telling(), Pooling(), batch_size=2)
    assert [item.name for item in done.skipped] == ["0.wav", "5.wav"]
    assert done.kept.tolist() == [1, 2, 3, 4, 6, 7, 8, 9, 10]
    np.testing.assert_allclose(done.vectors, expected(done.kept), atol=1e-6)


def test_an_interrupted_run_goes_on_and_a_second_one_embeds_nothing(tmp_path):
    store = EmbeddingStore(tmp_path, made())
    with pytest.raises(KeyboardInterrupt):
        embed(sources(), Telling(breaks_after=3), Pooling(), batch_size=2, store=store)
    encoder = Telling()
    done = embed(sources(), encoder, Pooling(), batch_size=2, store=store)
    assert done.from_store == 6 and len([*chain(*encoder.batches)]) == len(LENGTHS) - 6
    np.testing.assert_allclose(done.vectors, expected(done.kept), atol=1e-6)
    nothing = Telling(breaks_after=0)
    assert np.array_equal(embed(sources(), nothing, Pooling(), store=store).vectors, done.vectors)


@pytest.mark.parametrize("damage", [b"", b"not an array", None])
def test_a_damaged_entry_of_the_store_counts_as_absent(tmp_path, damage):
    store = EmbeddingStore(tmp_path, made())
    whole = embed(sources(), Telling(), Pooling(), store=store)
    (victim,) = tmp_path.rglob("04.npy")
    if damage is None:
        np.save(victim, np.full((1, 16), np.nan, np.float32))
    else:
        victim.write_bytes(damage)
    again = embed(sources(), Telling(), Pooling(), store=store)
    assert again.from_store == len(LENGTHS) - 1 and np.array_equal(again.vectors, whole.vectors)


def test_another_maker_has_another_store(tmp_path):
    embed(sources(), Telling(), Pooling(), store=EmbeddingStore(tmp_path, made(layer=1)))
    done = embed(sources(), Telling(), Pooling(), store=EmbeddingStore(tmp_path, made(layer=2)))
    assert done.from_store == 0
