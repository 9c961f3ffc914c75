"""Feeding: batches of one length, any order of finishing, interruptions and damage, with a small encoder that tells."""

import random
import threading
import time
from dataclasses import dataclass
from functools import partial
from itertools import chain

import numpy as np
import pytest

from echobank.errors import AudioError, ConfigError
from echobank.models.embedding_store import EmbeddingStore
from echobank.models.encoder import EncoderFacts
from echobank.models.feeding import Piece, Source, embed, embed_features, feed
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


@dataclass(frozen=True)
class Recording:
    """A recording of several pieces; `breaks` is the number of the piece that cannot be read, and how."""

    name: str
    lengths: tuple[int, ...]
    breaks: tuple[int, BaseException] | None = None

    def pieces(self):
        for number, length in enumerate(self.lengths):
            if self.breaks and number == self.breaks[0]:
                raise self.breaks[1]
            yield Piece(f"{self.name}{number}", np.full(length, number, np.float32), number)


def fed(recordings, encoder, **settings):
    work = partial(embed_features, encoder=encoder, poolings=[Pooling()])
    return list(feed(recordings, work, [None], encoder, **settings))


@pytest.mark.parametrize("workers", [1, 2, 7])
def test_recordings_of_many_pieces_come_whole_and_in_order(workers):
    recordings = [Recording(str(i), (160,) * (37 * (i % 3)) + (320,)) for i in range(40)]
    every = fed(iter(recordings), Telling(), batch_size=4, workers=workers)
    assert [item.name for item in every] == [str(i) for i in range(40)]
    for recording, item in zip(recordings, every, strict=True):
        assert item.facts == tuple(range(len(recording.lengths))) and not item.error
        assert [float(output[0].mean()) for output in item.outputs] == list(item.facts)


def test_batches_depend_on_the_sources_alone():
    made = []
    recordings = [Recording(str(i), (160,) * (i % 7) + (320,) * (i % 3) + (480,)) for i in range(60)]
    for workers in (1, 2, 7):
        encoder = Telling()
        fed(recordings, encoder, batch_size=4, workers=workers)
        made.append(sorted(map(tuple, encoder.batches)))
    assert made[0] == made[1] == made[2]


def test_sources_are_asked_for_a_few_batches_ahead():
    asked = []

    def recordings():
        for i in range(500):
            asked.append(i)
            yield Recording(str(i), (160,))

    encoder = Telling()
    work = partial(embed_features, encoder=encoder, poolings=[Pooling()])
    stream = feed(recordings(), work, [None], encoder, batch_size=4, workers=2)
    assert next(stream).name == "0" and len(asked) <= 16
    stream.close()
    assert len(asked) <= 16


@pytest.mark.parametrize("at", [0, 30])
@pytest.mark.parametrize("error", [AudioError("no sound"), ValueError("odd"), MemoryError(), UnicodeError("bad\nname")])
def test_whatever_a_source_raises_is_told_and_the_others_go_on(error, at):
    recordings = [Recording("a", (160,) * 5), Recording("bad", (160,) * 40, (at, error)), Recording("c", (160,) * 3)]
    good, bad, other = fed(recordings, Telling(), batch_size=4)
    assert (len(good.facts), len(other.facts), bad.facts, bad.outputs) == (5, 3, (), ())
    assert type(error).__name__ in bad.error or "no sound" in bad.error
    assert "\n" not in bad.error


class Choosy(Telling):
    """Cannot embed pieces that hold a 3."""

    def tokens(self, waveforms, layer=None):
        if any((waveform == 3).any() for waveform in waveforms):
            raise RuntimeError("not this one")
        return super().tokens(waveforms, layer)


def test_a_piece_that_cannot_be_embedded_costs_its_own_source_only():
    every = fed([Recording("a", (160,) * 3), Recording("b", (160,) * 4), Recording("c", (160,) * 2)], Choosy())
    assert [bool(item.error) for item in every] == [False, True, False]
    assert "RuntimeError: not this one" in every[1].error and every[1].error.startswith("b: ")


def test_a_setting_that_the_encoder_does_not_have_ends_the_run():
    class Unset(Telling):
        def tokens(self, waveforms, layer=None):
            raise ConfigError("no such layer")

    with pytest.raises(ConfigError):
        fed([Recording("a", (160,) * 3)], Unset())


def test_pieces_that_are_stored_are_not_embedded_again(tmp_path):
    store = EmbeddingStore(tmp_path, made())
    for breaks in (1000, 0):
        encoder = Telling(breaks)
        work = partial(embed_features, encoder=encoder, poolings=[Pooling()])
        (item,) = feed([Recording("a", (160,) * 9)], work, [store], encoder)
        assert [float(output[0].mean()) for output in item.outputs] == list(range(9))


def test_the_clips_of_a_small_job_are_dealt_out_to_the_threads():
    both = threading.Barrier(2, timeout=20)

    class Paired(Telling):
        def tokens(self, waveforms, layer=None):
            both.wait()  # breaks unless another thread embeds at the same time
            return super().tokens(waveforms, layer)

    encoder = Paired()
    numbers = [number for number, length in enumerate(LENGTHS) if length == 320]
    done = embed([sources()[number] for number in numbers], encoder, Pooling(), batch_size=8, workers=2)
    assert sorted(map(len, encoder.batches)) == [2, 3] and not done.skipped
    np.testing.assert_allclose(done.vectors, expected(numbers), atol=1e-6)
