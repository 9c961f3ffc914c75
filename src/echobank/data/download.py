"""Fetching the DCASE Challenge Task 2 data sets of 2020 to 2026 from their Zenodo records."""

import hashlib
import re
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

import requests

from echobank.data.dcase import require_machines
from echobank.data.unpack import unpack
from echobank.errors import DownloadError, InputError
from echobank.progress import Progress, silent
from echobank.storage import write_text
from echobank.version import __version__

ZENODO_API = "https://zenodo.org/api/records"
ZENODO_PAGE = "https://zenodo.org/records"

# Zenodo records of each edition: development, additional training, evaluation. From dcase.community, Task 2 pages.
RECORDS: dict[int, tuple[int, int, int]] = {
    2020: (3678171, 3727685, 3841772),
    2021: (4562016, 4660992, 4884786),
    2022: (6355122, 6462969, 6586456),
    2023: (7882613, 7830345, 7860847),
    2024: (10902294, 11259435, 11363076),
    2025: (15097779, 15392814, 15519362),
    2026: (19336329, 20151556, 20437238),
}

_ARCHIVE = re.compile(
    r"(?:dev_data|dev|eval_data|eval)_(?:(?:train|test)_)?(?P<machine>[A-Za-z0-9-]+?)(?:_(?:train|test))?"
    r"(?:_r(?P<revision>\d+))?\.zip"
)
_CHUNK = 1 << 20
_ATTEMPTS = 6
_PAUSE_SECONDS = 1.0
_FINAL_STATUS = (401, 403, 404, 410)
_TIMEOUT_SECONDS = (10, 60)
_UNPACKED_RATIO = 1.5  # of the archive; measured 1.1 to 1.3 on 16-bit recordings
_GIGABYTE = 1e9


@dataclass(frozen=True)
class Archive:
    """One zip file of a record: its machine, address, size in bytes and MD5."""

    name: str
    machine: str
    url: str
    size: int
    md5: str


def download(
    edition: int | str,
    split: Literal["dev", "eval"],
    root: Path | str,
    machines: Sequence[str] = (),
    progress: Progress = silent,
    api: str = ZENODO_API,
) -> list[Path]:
    """Fetch a data set into <root>/{dev_data,eval_data}/raw/<machine>, or continue where it stopped.

    Args:
        edition: Year, or a name such as "dcase2025".
        split: "dev", or "eval": the additional training and the evaluation data.
        root: Where the tree begins.
        machines: Machines wanted; empty takes all.
        progress: Shows how far it is.
        api: Address of the records.

    Returns:
        Folders of the machines.

    Raises:
        InputError: No such edition, split or machine.
        DownloadError: A file cannot be fetched whole, or there is no room for it.
        OutputError: A file cannot be written.
    """
    year = _year(edition, split)
    raw = Path(root) / f"{split}_data" / "raw"
    session = _session()
    records = RECORDS[year][:1] if split == "dev" else RECORDS[year][1:]
    every = [archive for record in records for archive in _list(session, api, record, raw)]
    require_machines(machines, {archive.machine for archive in every}, f"dcase{year} {split}")
    archives = sorted((a for a in every if not machines or a.machine in machines), key=lambda a: a.name)
    waiting = [archive for archive in archives if not _is_unpacked(archive, raw)]
    _require_space(waiting, raw)
    for archive in waiting:
        _bring(session, archive, raw, progress)
    return sorted({raw / archive.machine for archive in archives})


def _session() -> requests.Session:
    session = requests.Session()
    session.headers.update({"User-Agent": f"echobank/{__version__}", "Accept-Encoding": "identity"})
    return session


def _bring(session: requests.Session, archive: Archive, raw: Path, progress: Progress) -> None:
    part = raw / f"{archive.name}.part"
    _fetch(session, archive, part, progress)
    unpack(part, raw / archive.machine, progress)
    write_text(_marker(archive, raw), f"{archive.md5}\n")
    part.unlink()


def _year(edition: int | str, split: str) -> int:
    if split not in ("dev", "eval"):
        raise InputError("no such split", value=split, hint="use dev or eval")
    match = re.fullmatch(r"(?:dcase)?(\d{4})", str(edition).strip().lower())
    if not match or int(match[1]) not in RECORDS:
        raise InputError("no such edition", value=edition, hint=f"use dcase{min(RECORDS)} to dcase{max(RECORDS)}")
    return int(match[1])


def _list(session: requests.Session, api: str, record: int, raw: Path) -> list[Archive]:
    """Return the archives of a record, of each the newest revision."""
    by_hand = f"connect to the internet, or fetch the files of {ZENODO_PAGE}/{record} by hand and unzip them into {raw}"
    try:
        response = session.get(f"{api}/{record}", timeout=_TIMEOUT_SECONDS)
        response.raise_for_status()
        files = response.json()["files"]
        newest: dict[str, tuple[int, Archive]] = {}
        for item in files:
            match = _ARCHIVE.fullmatch(item["key"])
            if match:
                revision = int(match["revision"] or 1)
                plain = item["key"].replace(f"_r{revision}.zip", ".zip")
                if plain not in newest or revision > newest[plain][0]:
                    newest[plain] = revision, _archive(item, match["machine"], f"{api}/{record}")
    except (KeyError, TypeError, ValueError) as error:
        raise DownloadError(f"record {record} does not answer as expected", hint=by_hand) from error
    except requests.RequestException as error:
        raise DownloadError(f"cannot reach record {record} ({_reason(error)})", hint=by_hand) from error
    return [archive for _, archive in newest.values()]


def _archive(item: dict[str, Any], machine: str, record: str) -> Archive:
    kind, _, digest = item["checksum"].partition(":")
    if kind != "md5":
        raise ValueError(kind)
    return Archive(item["key"], machine, f"{record}/files/{quote(item['key'])}/content", int(item["size"]), digest)


def _marker(archive: Archive, raw: Path) -> Path:
    """File that says that an archive was unpacked; it lies in the machine's folder and goes with it."""
    return raw / archive.machine / f".{archive.name}.md5"


def _is_unpacked(archive: Archive, raw: Path) -> bool:
    try:
        return _marker(archive, raw).read_text(encoding="utf-8").strip() == archive.md5
    except OSError:
        return False


def _require_space(archives: list[Archive], raw: Path) -> None:
    """Refuse to begin when everything unpacked and the largest archive do not fit."""
    if not archives:
        return
    needed = sum(a.size for a in archives) * _UNPACKED_RATIO + max(a.size for a in archives)
    existing = next(folder for folder in (raw.absolute(), *raw.absolute().parents) if folder.exists())
    free = shutil.disk_usage(existing).free
    if free < needed:
        raise DownloadError(
            f"not enough room: {needed / _GIGABYTE:.1f} GB needed, {free / _GIGABYTE:.1f} GB free",
            where=existing,
            hint="make room, choose another root, or name fewer machines",
        )


def _fetch(session: requests.Session, archive: Archive, part: Path, progress: Progress) -> None:
    """Bring `part` to the archive's size and check its MD5; a file that fails the check is removed."""
    try:
        part.parent.mkdir(parents=True, exist_ok=True)
        if _size(part) > archive.size:
            part.unlink()
        there = _size(part)
        chunks = _transfer(session, archive, part)
        for _ in progress(chunks, total=-(-(archive.size - there) // _CHUNK), label=f"{archive.name} (MiB)"):
            pass
        with part.open("rb") as stream:
            digest = hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    except requests.RequestException as error:
        hint = "run the same command again to continue"
        raise DownloadError(f"not fetched completely ({_reason(error)})", where=archive.name, hint=hint) from error
    except OSError as error:
        raise DownloadError(f"cannot write ({error.strerror or error})", where=part) from error
    if digest != archive.md5:
        part.unlink()
        hint = "it was removed; run the same command again"
        raise DownloadError(f"wrong MD5 {digest}, the record says {archive.md5}", where=archive.name, hint=hint)


def _transfer(session: requests.Session, archive: Archive, part: Path) -> Iterator[int]:
    """Append to `part` until it is whole, yielding the size of each piece; continues where it broke off.

    Only attempts in a row that bring nothing new count, so a line that breaks often still gets there.
    """
    failures = best = 0
    while (there := _size(part)) != archive.size:
        best = max(best, there)
        if failures:
            time.sleep(_PAUSE_SECONDS * 2 ** (failures - 1))
        try:
            yield from _receive(session, archive, part, there)
            problem: requests.RequestException = _WrongLengthError(f"{_size(part)} of {archive.size} bytes")
        except requests.RequestException as error:
            if error.response is not None and error.response.status_code in _FINAL_STATUS:
                raise
            problem = error
        failures = 0 if _size(part) > best else failures + 1
        if failures == _ATTEMPTS:
            raise problem


def _receive(session: requests.Session, archive: Archive, part: Path, there: int) -> Iterator[int]:
    headers = {"Range": f"bytes={there}-"} if there else {}
    with session.get(archive.url, headers=headers, stream=True, timeout=_TIMEOUT_SECONDS) as response:
        if response.status_code == requests.codes.requested_range_not_satisfiable:
            part.unlink()
            return
        response.raise_for_status()
        resumed = response.status_code == requests.codes.partial_content
        if resumed and not response.headers.get("Content-Range", "").startswith(f"bytes {there}-"):
            raise _WrongLengthError("the server sent another part of the file than was asked for")
        size = there if resumed else 0
        with part.open("ab" if resumed else "wb") as stream:
            for chunk in response.iter_content(_CHUNK):
                size += len(chunk)
                if size > archive.size:
                    raise _WrongLengthError(f"more than the {archive.size} bytes that the record says")
                stream.write(chunk)
                yield len(chunk)


def _reason(error: requests.RequestException) -> str:
    if error.response is not None:
        return f"{error.response.status_code} {error.response.reason}"
    if isinstance(error, requests.Timeout):
        return "no answer in time"
    if isinstance(error, requests.exceptions.ChunkedEncodingError):
        return "the connection broke off"
    return str(error) if isinstance(error, _WrongLengthError) else "no connection"


class _WrongLengthError(requests.ConnectionError):
    """The server sent more, less or another part than the record promises."""


def _size(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0
