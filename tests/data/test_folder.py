"""The walk over a folder: what is taken, what is counted as left out, and what the system refuses."""

import os

import pytest

from echobank.cli import main
from echobank.data.dcase import scan
from echobank.data.folder import LeftOut, recordings_in
from echobank.errors import InputError
from echobank.training.recordings import scan_audio
from tests.machines.sounds import healthy_folder, hum, write
from tests.permissions import permissions_hold
from tests.requirements import needs

pytestmark = needs("posix")  # permissions and pipes


@pytest.fixture
def mixed(tmp_path):
    """Return a folder with an AIFF that can be read, sound that cannot, links, and what is no sound at all."""
    folder = tmp_path / "mixed"
    write(folder / "a.wav", hum(2.0))
    write(folder / "b.aiff", hum(2.0, seed=1))
    for name in ("phone.m4a", "deep/film.MP4", "deep/old.m4a", "notes.txt", "readme", ".hidden.m4a"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"x")
    write(tmp_path / "elsewhere" / "c.wav", hum(2.0, seed=2))
    (folder / "more").symlink_to(tmp_path / "elsewhere")
    (folder / "gone.wav").symlink_to(tmp_path / "none.wav")
    os.mkfifo(folder / "pipe.wav")
    return folder


LINES = (
    "left out: 2 .m4a (convert with ffmpeg, for example to .flac)",
    "left out: 1 .mp4 (convert with ffmpeg, for example to .flac)",
    "left out: 1 broken link",
    "left out: 1 linked folder (name it itself to include it)",
    "left out: 1 name of a recording that is no file",
)


def test_what_is_left_out_is_counted_by_kind(mixed):
    left_out = LeftOut()
    assert {name for name, _ in recordings_in(mixed, left_out=left_out)} == {"a.wav", "b.aiff"}
    assert left_out.lines == LINES and left_out.troubles == ()


def test_fit_score_and_add_say_what_they_left_out_and_exit_3(mixed, tmp_path, capsys):
    bank = tmp_path / "banks" / "m"
    for words in (
        ["fit", str(mixed), "--machine", "m", "--out", str(bank.parent), "--window", "1s"],
        ["score", str(bank), str(mixed)],
        ["bank", "add", str(bank), str(mixed)],
    ):
        assert main(words) == 3
        err = capsys.readouterr().err
        assert all(f"skipped: {line}" in err for line in LINES)
    assert main(["bank", "info", str(bank), "--rows"]) == 0
    assert "b.aiff" in capsys.readouterr().out
    assert main(["score", str(bank), str(mixed / "a.wav")]) == 0  # a file that was named leaves nothing out


def test_a_folder_of_foreign_sound_alone_says_how_to_convert_it(tmp_path, capsys):
    (tmp_path / "h").mkdir()
    (tmp_path / "h" / "a.m4a").write_bytes(b"x")
    assert main(["fit", str(tmp_path / "h"), "--machine", "m", "--out", str(tmp_path)]) == 2
    assert "left out: 1 .m4a (convert with ffmpeg" in capsys.readouterr().err


def test_training_and_dcase_name_foreign_sound_too(mixed, tmp_path):
    good, bad = scan_audio([mixed])
    assert [sound.path.name for sound in good] == ["a.wav", "b.aiff"]
    assert f"{mixed}: {LINES[0]}" in bad
    write(tmp_path / "set" / "fan" / "train" / "section_00_source_train_normal_0000_.wav", hum(1.0))
    (tmp_path / "set" / "fan" / "train" / "section_00_source_train_normal_0001_.m4a").write_bytes(b"x")
    (problem,) = scan(tmp_path / "set").problems
    assert "this is .m4a" in problem.reason


@pytest.mark.parametrize("mode", [0o000, 0o444])
def test_a_folder_that_is_refused_is_named_and_the_rest_goes_on(tmp_path, fitted, capsys, mode):
    folder = healthy_folder(tmp_path / "h", 2, 2.0)
    write(folder / "shut" / "c.wav", hum(2.0, seed=9))
    (folder / "shut").chmod(mode)
    try:
        with permissions_hold():
            left_out = LeftOut()
            assert {name for name, _ in recordings_in(folder, left_out=left_out)} == {"00.wav", "01.wav"}
            (trouble,) = left_out.troubles
            assert "shut" in trouble and "Permission denied" in trouble
            assert main(["score", str(fitted / "banks" / "pump"), str(folder)]) == 3
            assert "Permission denied" in capsys.readouterr().err
            _, bad = scan_audio([folder])
            assert any("Permission denied" in line for line in bad)
            if mode == 0:
                with pytest.raises(InputError, match="cannot be listed"):
                    list(recordings_in(folder / "shut", strict=True))
    finally:
        (folder / "shut").chmod(0o755)


def test_a_data_set_that_is_refused_is_one_line(tmp_path):
    folder = tmp_path / "set" / "fan"
    for split in ("train", "test"):
        write(folder / split / f"section_00_source_{split}_normal_0000_.wav", hum(1.0))
    (folder / "test").chmod(0)
    try:
        with permissions_hold():
            (problem,) = scan(tmp_path / "set").problems
            assert problem.left_out and "cannot be listed (Permission denied)" in problem.reason
            folder.chmod(0)
            with pytest.raises(InputError, match="Permission denied"):
                scan(tmp_path / "set")
    finally:
        folder.chmod(0o755)
        (folder / "test").chmod(0o755)
