"""Weights files by card: from the cache, else fetched from a pinned mirror, resumed, and held to size and SHA-256."""

import time
from collections.abc import Iterator
from pathlib import Path

import requests

from echobank.errors import OutputError, WeightsError
from echobank.models.weights.cards import Card
from echobank.models.weights.weights_cache import cached_file
from echobank.progress import Progress, silent
from echobank.storage import sha256_file

_CHUNK = 1 << 20
_TIMEOUT_SECONDS = (10, 60)  # to connect, and between two pieces
_ATTEMPTS = 3
_PAUSE_SECONDS = 1.0


def fetch(card: Card, cache: Path | str | None = None, progress: Progress = silent) -> Path:
    """Return the checked weights file of a card, from the cache or the first source that gives it.

    A download goes to `<file>.part`, which a later call continues; it takes its name only once size and hash agree.

    Raises:
        WeightsError: The cached file is not the card's, or no source gives it; names the ways out.
        OutputError: The cache cannot be written.
    """
    path = cached_file(card, cache)
    if path.exists():
        _check_cached(card, path)
        return path
    problems = []
    for url in card.sources:
        try:
            return _download(card, url, path, progress)
        except (requests.RequestException, _DamagedError) as error:
            problems.append(f"{url.split('/')[2]}: {_reason(error)}")
        except OSError as error:
            raise OutputError(f"cannot write the weights ({error.strerror or error})", where=path) from error
    raise WeightsError(
        f"the weights of {card.name} are not here and could not be fetched ({', '.join(problems) or 'no source'})",
        hint=f"(1) run again with a connection to the internet, (2) give the file with --weights PATH or weights.path, "
        f"or (3) put it at {path}",
    )


def _check_cached(card: Card, path: Path) -> None:
    found = sha256_file(path) if path.stat().st_size == card.bytes else f"{path.stat().st_size} bytes"
    if found != card.sha256:
        raise WeightsError(
            f"the cached file is not {card.file} as published ({found[:16]})",
            where=path,
            hint="delete it to fetch it again, or give your own file with --weights PATH",
        )


def _download(card: Card, url: str, path: Path, progress: Progress) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part")
    pieces = _transfer(url, part, card.bytes)
    for _ in progress(pieces, total=-(-card.bytes // _CHUNK), label=f"{card.file} (MiB)"):
        pass
    found = sha256_file(part)
    if found != card.sha256:
        part.unlink()
        raise _DamagedError(f"wrong SHA-256 {found[:16]}, removed")
    part.replace(path)
    return path


def _transfer(url: str, part: Path, size: int) -> Iterator[int]:
    """Append to `part` until it has `size` bytes, yielding each piece's size; a broken line is taken up again."""
    for attempt in range(_ATTEMPTS):
        if _size(part) == size:
            return
        if attempt:
            time.sleep(_PAUSE_SECONDS)
        try:
            yield from _receive(url, part, size)
            problem: Exception = _DamagedError(f"{_size(part)} of {size} bytes")
        except (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError) as error:
            problem = error
    if _size(part) != size:
        raise problem


def _receive(url: str, part: Path, size: int) -> Iterator[int]:
    there = _size(part)
    headers = {"Range": f"bytes={there}-"} if there else {}
    with requests.get(url, headers=headers, stream=True, timeout=_TIMEOUT_SECONDS) as response:
        if response.status_code == requests.codes.requested_range_not_satisfiable:
            part.unlink()
            return
        response.raise_for_status()
        resumed = response.headers.get("Content-Range", "").startswith(f"bytes {there}-")
        with part.open("ab" if there and resumed else "wb") as stream:
            for chunk in response.iter_content(_CHUNK):
                stream.write(chunk)
                yield len(chunk)
                if stream.tell() > size:
                    part.unlink()
                    raise _DamagedError(f"more than {size} bytes, removed")


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _reason(error: Exception) -> str:
    if isinstance(error, requests.HTTPError) and error.response is not None:
        return f"{error.response.status_code} {error.response.reason}"
    if isinstance(error, requests.Timeout):
        return "no answer in time"
    return str(error) if isinstance(error, _DamagedError) else "no connection"


class _DamagedError(Exception):
    """What a source gave is not the file of the card."""
