"""Packages of machines for devices (`edge/`): made in a child process on request, kept until the bank changes."""

import hashlib
import os
import subprocess
import sys
import tempfile
import threading
import zipfile
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotYetError
from dataclasses import dataclass
from pathlib import Path

from echobank.edge.bundle import read_facts
from echobank.errors import ConfigError, OutputError
from echobank.machines.archive import bank_file
from echobank.serve.writer import BusyError
from echobank.storage import atomic_path, sha256_file
from echobank.version import __version__

_KEPT = 4  # of one bank: devices may have recorders of several rates
_PATIENCE = 20.0  # seconds that a request waits; BEATs takes longer
_LIMIT = 1800.0  # seconds for making one
_TIME = (2000, 1, 1, 0, 0, 0)  # in the archive, so that the same package gives the same bytes
_SINGLE = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


@dataclass(frozen=True)
class Package:
    """A package as one file.

    Attributes:
        tag: Changes with the bank, its threshold, the rate and the version of echobank.
        file: A ZIP archive of the folder.
    """

    tag: str
    file: Path


class PackageShelf:
    """The packages of a service, one made at a time.

    Args:
        folder: Where they are kept.
    """

    def __init__(self, folder: Path) -> None:
        self._folder, self._gate, self._closed = folder, threading.Lock(), False
        self._maker = ThreadPoolExecutor(1, thread_name_prefix="package")
        self._under_way: dict[str, Future[Package]] = {}
        self._hashes: dict[Path, tuple[tuple[int, int, int], str]] = {}
        self._child: subprocess.Popen[str] | None = None

    def tag(self, bank: Path, rate: int | None) -> str:
        """Return the tag of the package of a bank as it is now.

        Raises:
            OutputError: The bank cannot be read.
        """
        file = bank_file(bank)
        try:
            seen = file.stat()
            state = seen.st_mtime_ns, seen.st_size, seen.st_ino
            known = self._hashes.get(file)
            if known is None or known[0] != state:
                known = self._hashes[file] = state, sha256_file(file)
        except OSError as error:
            raise OutputError(f"cannot read the bank ({error.strerror or error})", where=file) from error
        return _tag(known[1], rate)

    def package(self, bank: Path, rate: int | None) -> Package:
        """Return the package of a bank for recorders of a rate in Hz; None is the encoder's own.

        Raises:
            BusyError: It is still being made.
            ConfigError: The machine cannot be exported; the message says what can.
            OutputError: The disk is full or gone.
        """
        tag = self.tag(bank, rate)
        made = Package(tag, self._place(bank) / f"{tag}.zip")
        if made.file.is_file():
            return made
        with self._gate:
            if self._closed:
                raise BusyError("the service is stopping")
            future = self._under_way.get(tag)
            if future is None:
                future = self._under_way[tag] = self._maker.submit(self._make, bank, rate)
        try:
            found = future.result(_PATIENCE)
        except NotYetError as error:
            raise BusyError("the package is being made", hint="ask again") from error
        finally:
            if future.done():
                self._under_way.pop(tag, None)
        return found

    def close(self) -> None:
        """Stop what is being made."""
        with self._gate:
            self._closed = True
            if self._child is not None:
                self._child.kill()
        self._maker.shutdown(cancel_futures=True)

    def _place(self, bank: Path) -> Path:
        return self._folder / hashlib.sha256(str(bank).encode()).hexdigest()[:16]

    def _make(self, bank: Path, rate: int | None) -> Package:
        place = self._place(bank)
        try:
            place.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=place) as work:
                folder = Path(work) / f"{bank_file(bank).parent.name}.edge"
                self._export(bank, rate, folder)
                tag = _tag(read_facts(folder).bank_sha256, rate)  # of the bank that was read, which may be a newer one
                with atomic_path(place / f"{tag}.zip") as temporary:
                    _pack(folder, temporary)
            kept = sorted(place.glob("*.zip"), key=lambda file: file.stat().st_mtime_ns)
            for old in kept[:-_KEPT]:
                old.unlink(missing_ok=True)
        except OSError as error:
            raise OutputError(f"cannot write ({error.strerror or error})", where=place) from error
        return Package(tag, place / f"{tag}.zip")

    def _export(self, bank: Path, rate: int | None, folder: Path) -> None:
        words = ["export", str(bank), "--out", str(folder), *(["--rate", str(rate)] if rate else [])]
        with self._gate:
            if self._closed:
                raise BusyError("the service is stopping")
            self._child = subprocess.Popen(
                [sys.executable, "-m", "echobank", *words],
                env={**os.environ, **_SINGLE},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
            )
        try:
            _, said = self._child.communicate(timeout=_LIMIT)
        except subprocess.TimeoutExpired as error:
            raise OutputError("making the package took too long", value=f"{_LIMIT:g} s") from error
        finally:
            self._child.kill()
            code, self._child = self._child.wait(), None
        if code:
            last = (said.strip().splitlines() or ["ended without a word"])[-1]
            raise ConfigError(last.removeprefix("echobank: "))


def _tag(bank_sha256: str, rate: int | None) -> str:
    return hashlib.sha256(f"{bank_sha256} {rate or 0} {__version__}".encode()).hexdigest()[:32]


def _pack(folder: Path, target: Path) -> None:
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for file in sorted(path for path in folder.rglob("*") if path.is_file()):
            entry = zipfile.ZipInfo(str(file.relative_to(folder.parent)), _TIME)
            entry.compress_type, entry.external_attr, entry.file_size = (
                zipfile.ZIP_DEFLATED,
                0o644 << 16,
                file.stat().st_size,
            )
            with file.open("rb") as source, archive.open(entry, "w") as stored:
                while part := source.read(1 << 20):
                    stored.write(part)
