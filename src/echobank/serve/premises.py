"""The premises of a service: its settings, where its banks lie, and how much of the disk it leaves free."""

import hashlib
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from echobank.errors import InputError
from echobank.machines import archive
from echobank.serve.decoder import Limits


@dataclass(frozen=True)
class ServiceSettings:
    """How the service works.

    Attributes:
        banks: Folder of the banks, one folder each, or the folder of one bank.
        folder: What it keeps.
        database: Address of the database; empty for SQLite in the folder.
        required: Whether a token is needed even where there is none.
        most_bytes: Size of a recording that is taken.
        depth: Recordings that may be under way at once.
        least_free: Bytes of the disk that are left free.
        keeps_clips: Whether sound of anomalous recordings is kept.
        keeps_speech: Whether that sound keeps its band of speech.
        clip_days: Age in days after which a clip is removed; 0 sets no limit.
        quota: Bytes that the folder may take; the oldest clips go first; 0 sets no limit.
        k: As `Rule`.
        n: As `Rule`.
        hysteresis: As `make_rule`.
        device: Where encoders run.
        limits: What decoding a recording may cost.
    """

    banks: Path
    folder: Path
    database: str = ""
    required: bool = False
    most_bytes: int = 64 << 20
    depth: int = 64
    least_free: int = 0
    keeps_clips: bool = True
    keeps_speech: bool = True
    clip_days: float = 0.0
    quota: int = 0
    k: int = 3
    n: int = 5
    hysteresis: float = 0.3
    device: str = "auto"
    limits: Limits = field(default_factory=Limits)


def find_banks(folder: Path) -> Sequence[Path]:
    """Return the banks in a folder, or the one that it is; none where the folder is empty, as machines can be added.

    Raises:
        InputError: There are none in a folder that is missing or holds other things.
    """
    if archive.bank_file(folder).is_file():
        return [folder]
    found = sorted(path.parent for path in folder.glob("*/bank.safetensors"))
    if not found and not (folder.is_dir() and not any(folder.iterdir())):
        raise InputError(
            "no banks", where=folder, hint="make one with `echobank fit FOLDER --machine NAME --out BANKS`"
        )
    return found


def mutes_of(folder: Path, bank: Path) -> Path:
    """Return where a service keeps what its users muted of the machine of a bank.

    Args:
        folder: Folder of the service.
        bank: The bank.
    """
    return folder / "mutes" / hashlib.sha256(str(bank.resolve()).encode()).hexdigest()[:16]


def usual_floor(folder: Path) -> int:
    """Return how many bytes of a disk are left free: 1 GiB, of a small disk a twentieth."""
    there = next(path for path in (folder, *folder.resolve().parents) if path.exists())
    return min(1 << 30, shutil.disk_usage(there).total // 20)
