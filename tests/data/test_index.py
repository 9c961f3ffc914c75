import json
import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import soundfile

from echobank.data.audio import read_clip
from echobank.data.index import ClipFacts, ClipIndex, LogmelCache, facts_of
from echobank.errors import OutputError


@pytest.fixture
def recording(tmp_path):
    path = tmp_path / "a.wav"
    soundfile.write(path, np.random.default_rng(0).standard_normal((4800, 2)) * 0.1, 48_000)
    return path


def test_facts_are_found_again_until_the_file_changes(tmp_path, recording, monkeypatch):
    facts = facts_of(recording, 1, clip=read_clip(recording, channel=1))
    assert (facts.source_rate, facts.channels, facts.channel, facts.flags) == (48_000, 2, 1, ("short",))
    assert (facts.seconds, facts.size, len(facts.sha256)) == (0.1, recording.stat().st_size, 64)
    ClipIndex(tmp_path).add(facts)
    index = ClipIndex(tmp_path)
    assert index.find(recording, 1) == facts
    assert index.find(recording, 0) is None
    monkeypatch.chdir(tmp_path)
    assert index.find("a.wav", 1) == facts
    os.utime(recording, ns=(1, 1))
    assert index.find(recording, 1) is None
    recording.unlink()
    assert index.find(recording, 1) is None


def test_a_recording_that_failed_is_looked_at_again(tmp_path, recording):
    index = ClipIndex(tmp_path)
    index.add(facts_of(recording, 0, error="cannot be read (Permission denied)"))
    assert index.find(recording, 0) is None and len(index) == 1
    index.add(facts_of(tmp_path / "absent.wav", 0, error="cannot be read"))
    assert ClipIndex(tmp_path).find(tmp_path / "absent.wav", 0) is None


@pytest.mark.parametrize("torn", [1, 30, 200])
def test_a_line_torn_by_a_kill_costs_only_itself(tmp_path, recording, torn):
    facts = facts_of(recording, 0, clip=read_clip(recording))
    ClipIndex(tmp_path).add(facts)
    journal = tmp_path / "index.jsonl"
    whole = journal.read_bytes()
    journal.write_bytes(whole + whole[:torn])
    index = ClipIndex(tmp_path)
    assert index.find(recording, 0) == facts
    other = facts_of(recording, 1, clip=read_clip(recording, channel=1))
    index.add(other)
    again = ClipIndex(tmp_path)
    assert (again.find(recording, 0), again.find(recording, 1)) == (facts, other)


def test_foreign_lines_are_passed_over(tmp_path, recording):
    facts = facts_of(recording, 0, clip=read_clip(recording))
    journal = tmp_path / "index.jsonl"
    journal.write_bytes(b'\xff\xfe\n{"path": 3}\n[1, 2]\nnull\n{"path": "x", "flags": 4}\n')
    ClipIndex(tmp_path).add(facts)
    assert ClipIndex(tmp_path).find(recording, 0) == facts


def test_the_last_line_counts_and_a_stale_journal_is_compacted(tmp_path):
    index = ClipIndex(tmp_path)
    for i in range(300):
        index.add(ClipFacts("/a.wav", i, i))
        index.add(ClipFacts("/b é.wav", i, i, flags=("dc",)))
    again = ClipIndex(tmp_path)
    lines = [json.loads(line) for line in (tmp_path / "index.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [(line["path"], line["size"]) for line in lines] == [("/a.wav", 299), ("/b é.wav", 299)]
    again.add(ClipFacts("/c.wav", 1, 1))
    assert len(ClipIndex(tmp_path)) == 3


def test_threads_share_an_index(tmp_path):
    index = ClipIndex(tmp_path)
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda i: index.add(ClipFacts(f"/{i}.wav", i, i)), range(400)))
    assert len(ClipIndex(tmp_path)) == len(index) == 400


def test_an_index_that_cannot_be_written_is_an_output_error(tmp_path):
    (tmp_path / "cache").touch()
    with pytest.raises(OutputError, match="cannot write"):
        ClipIndex(tmp_path / "cache").add(ClipFacts("/a.wav", 1, 1))


def test_logmels_are_kept_by_content_channel_and_front_end(tmp_path):
    cache, other = LogmelCache(tmp_path, "kaldi"), LogmelCache(tmp_path, "else")
    logmel = np.random.default_rng(0).standard_normal((98, 128)).astype(np.float32)
    assert not cache.has("ab12", 0) and cache.get("ab12", 0) is None
    cache.put("ab12", 0, logmel)
    assert cache.has("ab12", 0) and not cache.has("ab12", 1) and not other.has("ab12", 0)
    np.testing.assert_array_equal(cache.get("ab12", 0), logmel)
    assert [p.name for p in (tmp_path / "logmel" / "kaldi" / "ab").iterdir()] == ["ab12_0.npy"]


@pytest.mark.parametrize("damage", ["cut", "empty", "text", "float64", "vector", "pickle", "nan"])
def test_a_damaged_logmel_counts_as_absent(tmp_path, damage):
    cache = LogmelCache(tmp_path, "kaldi")
    cache.put("ab12", 0, np.ones((98, 128), np.float32))
    path = tmp_path / "logmel" / "kaldi" / "ab" / "ab12_0.npy"
    content = path.read_bytes()
    if damage in ("cut", "empty", "text"):
        path.write_bytes({"cut": content[:-1], "empty": b"", "text": b"hello"}[damage])
    else:
        bad = {
            "float64": np.ones((98, 128)),
            "vector": np.ones(98, np.float32),
            "pickle": np.array([{}], dtype=object),
            "nan": np.full((98, 128), np.nan, np.float32),
        }[damage]
        np.save(path, bad)
    assert cache.get("ab12", 0) is None
    if damage != "nan":
        assert not cache.has("ab12", 0)
    cache.put("ab12", 0, np.zeros((98, 128), np.float32))
    assert cache.get("ab12", 0) is not None
