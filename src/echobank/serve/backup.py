"""Backup: database, clips, banks and what else the service keeps as one file, while it runs; and the way back.

Journals of sources are copied before the database and clips after it. So the backup has the sound of every clip that
its database names, and a source that continues from its journal sends again what the database has, by the same ids.
"""

import json
import os
import re
import shutil
import tarfile
import tempfile
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from echobank.errors import InputError, OutputError
from echobank.machines.archive import bank_file, history_folder
from echobank.machines.nuisance import NUISANCES
from echobank.serve.database import address_of, embedded
from echobank.serve.database_copy import SQLITE, copy_database, load_tables
from echobank.serve.declared import FILE
from echobank.serve.premises import find_banks, mutes_of
from echobank.storage import atomic_path
from echobank.version import __version__

_FORMAT = 1
_MANIFEST = "manifest.json"
_PLACES = re.compile(r"(?:data|banks|mutes)(?:/[^/\0]+)+|tables/[a-z_]+|manifest\.json|echobank\.db")
_STATE = (FILE, "sources", "training", "places")  # of the folder of the service; mutes go by their banks


@dataclass(frozen=True)
class Manifest:
    """What a backup is.

    Attributes:
        kind: `sqlite` or `postgresql`.
        schema: Revision of its schema.
        tables: Columns of each table, for PostgreSQL.
        clips: Number of clips.
        made: When, ISO 8601.
        version: Program that made it.
        format: Number of this format.
    """

    kind: str
    schema: str
    tables: dict[str, list[str]] = field(default_factory=dict)
    clips: int = 0
    made: str = ""
    version: str = __version__
    format: int = _FORMAT


def make_backup(banks: Path, folder: Path, database: str, out: Path) -> Manifest:
    """Write a backup; the service may be running.

    Args:
        banks: As `ServiceSettings`.
        folder: As `ServiceSettings`.
        database: As `ServiceSettings`.
        out: The file, a tar archive for its owner's eyes: it holds sound, and passwords of streams.

    Raises:
        InputError: There is no service in the folder, or its database cannot be read.
        OutputError: The file cannot be written.
    """
    if not database and not (folder / SQLITE).is_file():
        raise InputError("this is not the folder of a service", where=folder)
    with atomic_path(out) as temporary, tempfile.TemporaryDirectory(dir=out.parent, prefix=".backup-") as scratch:
        temporary.chmod(0o600)
        with tarfile.open(temporary, "w") as archive:
            for name in _STATE:
                _pack(archive, folder / name, f"data/{name}")
            copy = copy_database(database or embedded(folder), Path(scratch))
            kept = _pack_clips(archive, folder / "clips", copy.clips)
            copy.forget(kept)
            for file in copy.files:
                archive.add(file, file.name if file.name == SQLITE else f"tables/{file.name}")
            for bank in find_banks(banks):
                _pack_bank(archive, bank, Path("banks") / bank.relative_to(banks))
                _pack(archive, mutes_of(folder, bank), (Path("mutes") / bank.relative_to(banks) / "of").as_posix())
            now = datetime.now(UTC).isoformat(timespec="seconds")
            manifest = Manifest(copy.kind, copy.schema, copy.tables, len(kept), now)
            note = Path(scratch) / _MANIFEST
            note.write_text(json.dumps(asdict(manifest)), encoding="utf-8")
            archive.add(note, _MANIFEST)
    return manifest


def restore_backup(file: Path, banks: Path, folder: Path, database: str) -> Manifest:
    """Bring back what a backup holds, where nothing is.

    Args:
        file: The backup.
        banks: Where its banks go; not there, or empty.
        folder: Where the rest goes; not there, or empty.
        database: As `ServiceSettings`; of the kind of the backup, and empty.

    Raises:
        InputError: It is no backup, or the folder already exists.
        OutputError: Something cannot be written.
    """
    for place in (banks, folder):
        if place.exists() and (not place.is_dir() or any(place.iterdir())):
            raise InputError("the folder already exists", where=place, hint="give folders that do not exist yet")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".restore-") as scratch:
        unpacked = Path(scratch)
        manifest = _unpack(file, unpacked)
        kind = "sqlite" if not database else address_of(database).get_backend_name()
        if kind != manifest.kind:
            raise InputError("the backup is of another kind of database", value=manifest.kind, where=file)
        (unpacked / "data").mkdir(exist_ok=True, mode=0o700)
        if manifest.kind == "sqlite":
            target = Path(address_of(database).database or "") if database else unpacked / "data" / SQLITE
            if database and target.exists():
                raise InputError("there is a database in the way", where=target)
            (unpacked / SQLITE).replace(target)
        else:
            load_tables(database, manifest.schema, manifest.tables, unpacked / "tables")
        _move(unpacked / "banks", banks)
        for bank in find_banks(banks):
            _move(unpacked / "mutes" / bank.relative_to(banks) / "of", mutes_of(unpacked / "data", bank))
        _move(unpacked / "data", folder)
    return manifest


def _pack(archive: tarfile.TarFile, path: Path, name: str) -> None:
    """Add a file or a folder of plain files; what goes meanwhile is left out, locks and half-written files too."""
    if path.is_dir() and not path.is_symlink():
        for inner in sorted(path.iterdir(), key=lambda it: (not it.name.endswith(".cursor.json"), it.name)):
            if not inner.name.startswith("."):
                _pack(archive, inner, f"{name}/{inner.name}")
    elif path.is_file() and not path.is_symlink():
        _add(archive, path, name)


def _add(archive: tarfile.TarFile, path: Path, name: str) -> bool:
    """Add as many bytes of a file as it has now, and return whether it is there: a journal may grow meanwhile."""
    with suppress(FileNotFoundError), path.open("rb") as stream:
        facts = archive.gettarinfo(arcname=name, fileobj=stream)
        archive.addfile(facts, stream)
        return True
    return False


def _pack_clips(archive: tarfile.TarFile, folder: Path, wanted: list[str]) -> list[str]:
    return [name for name in wanted if _add(archive, folder / name, f"data/clips/{name}")]


def _pack_bank(archive: tarfile.TarFile, bank: Path, name: Path) -> None:
    folder = bank_file(bank).parent
    for path in (history_folder(bank), folder / NUISANCES, bank_file(bank)):
        _pack(archive, path, (name / path.relative_to(folder)).as_posix())


def _unpack(file: Path, target: Path) -> Manifest:
    try:
        with tarfile.open(file, "r:") as archive:
            for member in archive:
                if not member.isfile() or not _PLACES.fullmatch(member.name) or ".." in member.name.split("/"):
                    raise InputError(
                        "not a backup: it holds a file that does not belong there", value=member.name, where=file
                    )
                path = target / member.name
                path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
                stream = archive.extractfile(member)
                assert stream is not None
                with path.open("wb") as written:
                    while block := stream.read(1 << 20):
                        written.write(block)
        manifest = Manifest(**json.loads((target / _MANIFEST).read_text(encoding="utf-8")))
    except (tarfile.TarError, KeyError, TypeError, ValueError, EOFError) as error:
        raise InputError("not a backup, or a damaged one", where=file) from error
    except FileNotFoundError as error:
        raise InputError("no such backup, or one that is cut off", where=file) from error
    except OSError as error:
        raise OutputError(f"the backup cannot be unpacked ({error.strerror})", where=target) from error
    if manifest.format > _FORMAT:
        raise InputError("a newer version of echobank made this backup", value=manifest.version, where=file)
    return manifest


def _move(source: Path, target: Path) -> None:
    if not source.exists():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.exists():
        target.rmdir()  # empty
    try:
        os.replace(source, target)  # noqa: PTH105
    except OSError:  # another disk
        shutil.copytree(source, target)
