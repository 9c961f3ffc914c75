"""Files are written whole or not at all."""

import errno
import json
import os

import pytest

from echobank.errors import OutputError
from echobank.storage import atomic_path, sha256_file, write_bytes, write_json, write_text
from tests.requirements import needs


def test_writes_make_folders_and_leave_nothing_else(tmp_path):
    write_text(tmp_path / "a/b/c.txt", "x\ny")
    write_json(tmp_path / "a/b/d.json", {"z": 1, "a": "é"})
    assert sorted(p.name for p in (tmp_path / "a/b").iterdir()) == ["c.txt", "d.json"]
    assert (tmp_path / "a/b/c.txt").read_bytes() == b"x\ny"
    assert json.loads((tmp_path / "a/b/d.json").read_text("utf-8")) == {"z": 1, "a": "é"}


@pytest.mark.parametrize("failure", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
def test_a_failure_keeps_the_old_file(tmp_path, failure):
    target = tmp_path / "scores.csv"
    write_text(target, "old")
    expected = OutputError if isinstance(failure, OSError) else KeyboardInterrupt
    with pytest.raises(expected), atomic_path(target) as temporary:
        temporary.write_text("half of the n")
        raise failure
    assert target.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["scores.csv"]


@needs("linux")
def test_a_full_disk_is_one_clear_line():
    with pytest.raises(OutputError, match="cannot write"):
        write_bytes("/dev/full/x", b"1")


def test_a_file_in_the_place_of_a_folder_is_one_clear_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot write") as error:
        write_text(tmp_path / "file/below.txt", "x")
    assert "\n" not in str(error.value)


def test_nan_never_reaches_json(tmp_path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "x.json", {"a": float("nan")})
    assert not list(tmp_path.iterdir())


def test_sha256_of_a_known_text(tmp_path):
    (tmp_path / "abc").write_bytes(b"abc")
    assert sha256_file(tmp_path / "abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


@needs("posix")
@pytest.mark.parametrize("mask", [0o022, 0o077])
def test_a_file_gets_the_rights_of_any_new_file_and_the_umask_is_left_alone(tmp_path, monkeypatch, mask):
    before = os.umask(mask)
    try:
        with monkeypatch.context() as patch:
            patch.setattr(os, "umask", lambda value: pytest.fail("the umask counts for all threads"))
            write_text(tmp_path / "x.txt", "x")
    finally:
        os.umask(before)
    assert (tmp_path / "x.txt").stat().st_mode & 0o777 == 0o666 & ~mask
