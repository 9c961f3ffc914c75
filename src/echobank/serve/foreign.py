"""Foreign files: a recording that is an archive, a page or a document as well is no recording; it is refused.

What is kept is handed out again, so it must be sound and nothing else, whatever a browser or an archiver makes of it.
"""

import zipfile
from pathlib import Path

from echobank.errors import AudioError

_HEAD = 2048  # more than a browser reads to guess what a file is (1,445 bytes, https://mimesniff.spec.whatwg.org)
_MARKS = (b"<html", b"<script", b"<!doctype", b"<?php", b"%pdf-")


def refuse_foreign(path: Path) -> None:
    """Check that a file is not something else besides a recording.

    Raises:
        AudioError: It is an archive, a page, a script or a document too.
    """
    with path.open("rb") as stream:
        head = stream.read(_HEAD).lower()
    if any(mark in head for mark in _MARKS) or _is_archive(path):
        raise AudioError("not only a recording: it is an archive or a document as well")


def _is_archive(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return bool(archive.infolist())
    except (zipfile.BadZipFile, ValueError, NotImplementedError, OverflowError):  # random bytes may look like its end
        return False
