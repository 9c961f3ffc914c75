"""Archives that mean harm or are damaged write nothing."""

import io
import stat
import zipfile

import pytest

from echobank.data.unpack import unpack
from echobank.errors import DownloadError
from tests.data.archives import CLIP, archive


def odd_entry(kind):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as opened:
        opened.writestr(f"fan/{CLIP}", b"good")
        names = {
            "up": "fan/../../evil.wav",
            "absolute": "/tmp/evil.wav",
            "drive": "C:evil.wav",
            "backslash": "..\\e.wav",
        }
        if kind in names:
            opened.writestr(names[kind], b"evil")
        elif kind == "symlink":
            link = zipfile.ZipInfo("fan/train/link.wav")
            link.external_attr = (stat.S_IFLNK | 0o777) << 16
            opened.writestr(link, "/etc/passwd")
        else:
            opened.writestr("fan/train/bomb.wav", bytes(5_000_000))
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["up", "absolute", "drive", "backslash", "symlink", "bomb"])
def test_an_archive_that_means_harm_writes_nothing(tmp_path, kind):
    path = tmp_path / "a" / "dev_fan.zip"
    path.parent.mkdir()
    path.write_bytes(odd_entry(kind))
    with pytest.raises(DownloadError, match="not unpacked"):
        unpack(path, tmp_path / "a" / "fan")
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == [path]


@pytest.mark.parametrize("damage", ["text", "half", "flipped"])
def test_a_damaged_archive_is_an_error(tmp_path, damage):
    content = bytearray(archive(f"fan/{CLIP}"))
    if damage == "flipped":
        content[200] ^= 255
    path = tmp_path / "dev_fan.zip"
    path.write_bytes({"text": b"<html>", "half": content[: len(content) // 2]}.get(damage, content))
    with pytest.raises(DownloadError, match=r"dev_fan\.zip: not a complete zip file"):
        unpack(path, tmp_path / "fan")
    assert not [p for p in tmp_path.rglob("*") if p.is_file() and p != path]


@pytest.mark.parametrize("above", ["", "fan/", "dev_data/fan/", "dev_data/raw/fan/"])
def test_folders_above_the_machine_do_not_matter(tmp_path, above):
    path = tmp_path / "dev_fan.zip"
    path.write_bytes(archive(f"{above}{CLIP}", f"__MACOSX/{above}._x.wav"))
    unpack(path, tmp_path / "fan")
    assert [str(p.relative_to(tmp_path)) for p in (tmp_path / "fan").rglob("*.wav")] == [f"fan/{CLIP}"]
