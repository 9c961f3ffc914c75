"""Embedding: what is new, once, as the plain loop has it; without Ray where Ray is not what is tested."""

import os
import shutil

import numpy as np
import pytest

from echobank.cli import main
from echobank.errors import EXIT_BAD_INPUT, EXIT_OK, EXIT_SKIPPED
from echobank.fleet.catalog import Listed, catalog_of
from echobank.fleet.dataset import VectorDataset, key_of
from echobank.fleet.embed_run import EmbedRun, locked
from echobank.fleet.embedding import EmbedWorker
from echobank.fleet.fitting import overrides_of
from echobank.fleet.location import Location
from echobank.fleet.shards import Shard
from echobank.machines.fit import machine_config, make_listener
from echobank.machines.listener import Listener
from tests.fleet.programs import settings_for
from tests.fleet.support import ENCODER, SET, WINDOW, InProcess, heard_in, plain_loop, same_heard
from tests.machines.sounds import hum, write
from tests.requirements import needs

BAD = ("pump0", "2026-03-01", "pump0/2026-03-01/bad.wav")


def embed(source, out, *overrides, size=3, pattern="{machine}/{date}"):
    """Embed in this process; return the tally and the pool."""
    settings = settings_for(source, out, *overrides)
    pool = InProcess(EmbedWorker(settings))
    return EmbedRun(settings, catalog_of(Location(str(source)), pattern), size).run(pool), pool


def assert_as_the_plain_loop(source, out):
    plain, stored = plain_loop(source), heard_in(out)
    assert {name for _, _, name in stored} == set(plain)
    assert all(same_heard(heard, plain[name]) for (_, _, name), heard in stored.items())
    assert all(name.startswith(f"{machine}/{day}/") for machine, day, name in stored)


@needs("ray")
@pytest.mark.parametrize("actors", [1, 2, 3])
def test_embeddings_equal_the_plain_loop_for_any_number_of_actors(ray_here, source, tmp_path, capsys, actors):
    out = tmp_path / "out"
    argv = ["fleet", "embed", str(source), "--out", str(out), *WINDOW, *SET, "--actors", str(actors), "--shard", "3"]
    assert main(argv) == EXIT_SKIPPED
    said = capsys.readouterr()
    assert "24 recordings embedded, 72 windows, in 12 shards" in said.out
    assert "1 cannot be used" in said.err and "not a recording that can be read" in said.err and "bad.wav" in said.err
    assert_as_the_plain_loop(source, out)
    assert not list(out.rglob("*.tmp"))
    assert main(["fleet", "status", str(out), "--machines"]) == EXIT_OK
    said = capsys.readouterr().out
    assert "3 machines, 6 days of a machine, 12 shards" in said and "24 recordings, 72 windows, 1 cannot" in said
    assert "pump0: 8 recordings, 24 windows, 1 errors" in said


def test_a_second_run_starts_nothing_and_one_new_recording_is_embedded_alone(source, tmp_path):
    shutil.copytree(source, tmp_path / "in")
    out = tmp_path / "out"
    tally, pool = embed(tmp_path / "in", out)
    assert (tally.new.recordings, tally.new.errors, tally.shards) == (24, 1, 12)
    again, pool = embed(tmp_path / "in", out)
    assert (pool.asked, pool.tasks, again.known, len(again.errors)) == (0, [], 25, 1)
    write(tmp_path / "in" / "pump1" / "2026-03-02" / "late.wav", hum(4.0, seed=9))
    late, pool = embed(tmp_path / "in", out)
    assert [[item.name for item in shard.items] for shard in pool.tasks] == [["pump1/2026-03-02/late.wav"]]
    assert (late.new.recordings, late.known) == (1, 25)
    assert_as_the_plain_loop(tmp_path / "in", out)


def test_a_recording_that_changed_is_embedded_again_and_the_newer_counts(source, tmp_path):
    shutil.copytree(source, tmp_path / "in")
    out = tmp_path / "out"
    embed(tmp_path / "in", out)
    write(tmp_path / "in" / "pump1" / "2026-03-02" / "0.wav", hum(6.0, seed=10))
    (tmp_path / "in" / "pump0" / "2026-03-01" / "bad.wav").write_bytes(b"still no sound")
    tally, pool = embed(tmp_path / "in", out)
    assert (tally.new.recordings, tally.new.errors, len(pool.tasks)) == (1, 1, 2)
    assert_as_the_plain_loop(tmp_path / "in", out)


def test_a_recording_that_was_touched_and_is_the_same_is_not_embedded_again(source, tmp_path, monkeypatch):
    shutil.copytree(source, tmp_path / "in")
    out, folder = tmp_path / "out", tmp_path / "in" / "pump1" / "2026-03-02"
    embed(tmp_path / "in", out)
    before = heard_in(out)
    for name in ("0.wav", "1.wav"):
        os.utime(folder / name, ns=(10**18, 10**18))
    write(folder / "2.wav", hum(4.0, seed=77))
    heard = []
    hear = Listener.hear
    monkeypatch.setattr(
        Listener, "hear", lambda self, paths: hear(self, (heard.append(path) or path for path in paths))
    )
    tally, _ = embed(tmp_path / "in", out, size=9)
    monkeypatch.undo()
    assert (heard, tally.same, tally.new.recordings) == ([folder / "2.wav"], 2, 3)
    after = heard_in(out)
    differ = {name for name, heard in after.items() if not same_heard(heard, before[name])}
    assert differ == {("pump1", "2026-03-02", "pump1/2026-03-02/2.wav")} and after.keys() == before.keys()
    again, pool = embed(tmp_path / "in", out)
    assert (pool.asked, again.same) == (0, 0)


def test_a_shard_that_is_there_is_not_written_again(source, tmp_path):
    settings = settings_for(source, tmp_path / "out")
    _, pool = embed(source, tmp_path / "out")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*.parquet")}
    worker = EmbedWorker(settings)
    counts = [worker.do(shard).counts for shard in pool.tasks]
    assert sum(one.recordings for one in counts) == 24
    assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*.parquet")}


def test_what_the_system_refuses_and_what_changes_is_left_for_the_next_run(source, tmp_path):
    settings = settings_for(source, tmp_path / "out")
    worker = EmbedWorker(settings)
    key = key_of(worker.ready(), traits=True)
    good, old, gone = (f"pump0/2026-03-01/{name}.wav" for name in ("0", "1", "gone"))
    stamp = settings.source.stamp(good)
    items = Listed(good, stamp.version, stamp.modified), Listed(old, "1-1", 1), Listed(gone, "2-2", 2)
    done = worker.do(Shard("pump0", "2026-03-01", items, "name", key))
    assert done.counts.recordings == 1 and not len(done.errors)
    assert {example.rpartition("/")[2] for _, _, example in done.waiting} == {"1.wav", "gone.wav"}


def test_embeddings_of_other_settings_lie_beside_and_must_be_chosen(source, tmp_path, capsys):
    embed(source, tmp_path / "out")
    tally, _ = embed(source, tmp_path / "out", "model.pooling=max")
    assert (tally.known, tally.new.recordings) == (0, 24)
    assert main(["fleet", "status", str(tmp_path / "out")]) == EXIT_OK
    assert capsys.readouterr().out.count("24 recordings, 72 windows") == 2


def test_a_dataset_is_of_one_source(source, tmp_path):
    embed(source, tmp_path / "out")
    shutil.copytree(source, tmp_path / "elsewhere")
    with pytest.raises(Exception, match="the dataset is of another source"):
        embed(tmp_path / "elsewhere", tmp_path / "out")


def test_two_runs_do_not_write_one_dataset(source, tmp_path):
    with locked(Location(str(tmp_path / "out"))), pytest.raises(Exception, match="another fleet run writes here"):
        embed(source, tmp_path / "out")


def test_a_pattern_finds_machines_elsewhere(source, tmp_path):
    for machine in ("a", "b"):
        shutil.copytree(source / "pump1" / "2026-03-01", tmp_path / "in" / f"site-{machine}" / machine / "raw")
    tally, pool = embed(tmp_path / "in", tmp_path / "out", pattern="site-*/{machine}")
    assert {(shard.machine, shard.day) for shard in pool.tasks} == {("a", "all"), ("b", "all")}
    assert tally.new.recordings == 8


def test_a_list_names_the_recordings(source, tmp_path):
    import pyarrow
    from pyarrow.parquet import write_table

    shutil.copytree(source, tmp_path / "in")
    names = ["pump1/2026-03-01/0.wav", "pump1/2026-03-01/1.wav", "pump2/2026-03-01/0.wav", "pump2/2026-03-01/no.wav"]
    rows = {"recording": names, "machine": ["x", "x", "y", "y"], "day": ["1", "1", "2", "2"]}
    write_table(pyarrow.table(rows), tmp_path / "in" / "list.parquet")
    catalog = catalog_of(Location(str(tmp_path / "in" / "list.parquet")))
    settings = settings_for(tmp_path / "in", tmp_path / "out")
    tally = EmbedRun(settings, catalog).run(InProcess(EmbedWorker(settings)))
    assert tally.new.recordings == 3
    assert list(tally.left_out.refused) == [str(tmp_path / "in" / "pump2/2026-03-01/no.wav")]
    assert {name for _, _, name in heard_in(tmp_path / "out")} == set(names[:3])


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["embed", "nowhere", "--out", "out"], "nowhere: no such folder"),
        (["embed", ".", "--out", "out", "--pattern", "{date}"], "the pattern needs {machine} once"),
        (["embed", ".", "--out", "out", "--window", "2s", "--hop", "3s"], "hop must be at most the window"),
        (["embed", ".", "--out", "out", "--set", "train.domain=source"], "do not apply to own machines"),
        (["status", "nowhere"], "no embeddings here"),
    ],
)
def test_bad_input_is_one_line(argv, said, tmp_path, monkeypatch, capsys):
    pytest.importorskip("pyarrow", reason="no Ray")
    monkeypatch.chdir(tmp_path)
    assert main(["fleet", *argv, *(SET if argv[0] == "embed" else ())]) == EXIT_BAD_INPUT
    printed = capsys.readouterr().err.strip()
    assert said in printed and "\n" not in printed


def test_a_damaged_shard_is_named(source, tmp_path):
    embed(source, tmp_path / "out")
    shard = next(iter((tmp_path / "out").rglob("*.parquet")))
    shard.write_bytes(shard.read_bytes()[:100])
    with pytest.raises(Exception, match=os.path.basename(shard)):  # noqa: PTH119
        embed(source, tmp_path / "out")


def test_two_microphones_go_into_a_dataset_of_their_own(tmp_path):
    rng = np.random.default_rng(0)
    for i in range(2):
        near, far = hum(4.0, seed=i), 0.02 * rng.standard_normal(64_000)
        write(tmp_path / "in" / "pump0" / "2026-03-01" / f"{i}.wav", np.stack([near, far], axis=1))
    write(tmp_path / "in" / "pump0" / "2026-03-01" / "mono.wav", hum(4.0, seed=9))
    out = tmp_path / "out"
    for channel in ("w1", "0"):
        embed(tmp_path / "in", out, f"data.channel={channel}")
    there = VectorDataset(Location(str(out))).made_by()
    assert {made.settings["channel"]: made.provenance.channel.identity for made in there} == {"w1": "w1", 0: 0}
    assert len({made.key for made in there}) == 2
    (made,) = (made for made in there if made.settings["channel"] == "w1")
    assert overrides_of(made)[-1] == "data.channel=w1"
    config = machine_config(None, [ENCODER, "data.channel=w1"])
    heard = heard_in(out, made.key)
    expected = {h.path.name: h for h in make_listener(config, 2.0, 1.0).hear(sorted((tmp_path / "in").rglob("*.wav")))}
    for (_, _, name), one in heard.items():
        other = expected[name.rpartition("/")[2]]
        np.testing.assert_array_equal(one.vectors, other.vectors)
        assert bool(one.error) == bool(other.error) == ("mono" in name)
