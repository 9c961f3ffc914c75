"""The archive: the bank file of one machine and its earlier states, so that every change can be undone.

`banks/pump7` is a folder with `bank.safetensors` and `history/<revision>.safetensors`; a path that ends in
`.safetensors` is a bank file whose history is next to it in `<stem>.history/`. A change first copies the present
bank into the history, then replaces it in one step: killed in between, the bank is the old one.
"""

import dataclasses
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from echobank.detection.bank import Bank, load_bank, save_bank
from echobank.detection.header import Change
from echobank.errors import BankError, OutputError
from echobank.storage import atomic_path

KEPT = 20  # earlier states kept; the oldest goes first
LOGGED = 200  # changes that the log keeps
_SUFFIX = ".safetensors"
_LOCK_SECONDS = 30


def bank_file(path: Path | str) -> Path:
    """Return the file of a bank that is named by its folder or by its file."""
    path = Path(path)
    return path if path.suffix == _SUFFIX else path / f"bank{_SUFFIX}"


def history_folder(path: Path | str) -> Path:
    """Return the folder of the earlier states of a bank."""
    file = bank_file(path)
    return file.with_name("history") if file.stem == "bank" else file.with_name(f"{file.stem}.history")


def revision_of(bank: Bank) -> int:
    """Return how many changes led to a bank; the first fit is 1."""
    return bank.header.machine.revision if bank.header.machine else 1


def change(path: Path | str, work: Callable[[Bank], Bank], action: str, **facts: Any) -> Bank:
    """Replace a bank by what `work` makes of it, keeping the old one for `undo`; one writer at a time.

    Args:
        path: The bank.
        work: Old bank to new bank; the old one itself says that there is nothing to change.
        action: One word for the log: add, remove, ...
        facts: More plain facts for the log.

    Raises:
        BankError: The bank cannot be read, or another program is changing it.
        OutputError: It cannot be written.
    """
    with _locked(path):
        old = load_bank(bank_file(path))
        changed = work(old)
        if changed is old:
            return old
        new = _stamped(changed, revision_of(old) + 1, _log(old), action, facts)
        _keep(path, revision_of(old))
        save_bank(new, bank_file(path))
        return new


def put(path: Path | str, bank: Bank, action: str, **facts: Any) -> Bank:
    """Write a bank that is new, or that replaces whatever is there; the old one can be restored by `undo`.

    Raises:
        BankError: Another program is changing the bank.
        OutputError: It cannot be written.
    """
    with _locked(path):
        revision = 0
        if bank_file(path).exists():
            revision = _revision_on_disk(path)
            _keep(path, revision)
        new = _stamped(bank, revision + 1, _log(bank), action, facts)
        save_bank(new, bank_file(path))
        return new


def undo(path: Path | str) -> Bank:
    """Bring back the state before the last change.

    Raises:
        BankError: There is no earlier state.
    """
    with _locked(path):
        now = revision_of(load_bank(bank_file(path)))
        earlier = [revision for revision in _revisions(path) if revision < now]
        if not earlier:
            raise BankError("there is nothing to undo", where=bank_file(path))
        file = _file_of(path, max(earlier))
        bank = load_bank(file)
        with atomic_path(bank_file(path)) as temporary:
            shutil.copyfile(file, temporary)
        for revision in _revisions(path):
            if revision >= max(earlier):
                _file_of(path, revision).unlink(missing_ok=True)
        return bank


def _log(bank: Bank) -> tuple[Change, ...]:
    return bank.header.machine.log if bank.header.machine else ()


def _stamped(bank: Bank, revision: int, log: tuple[Change, ...], action: str, facts: Mapping[str, Any]) -> Bank:
    if bank.header.machine is None:
        raise BankError("not a bank of an own machine", hint="banks of `train` have no history")
    entry = Change(revision, action, _now(), len(bank), facts)
    machine = dataclasses.replace(bank.header.machine, revision=revision, log=(*log, entry)[-LOGGED:])
    return dataclasses.replace(bank, header=dataclasses.replace(bank.header, machine=machine))


def _revision_on_disk(path: Path | str) -> int:
    try:
        return revision_of(load_bank(bank_file(path)))
    except BankError:  # a damaged bank may be replaced by a fit; it counts after everything that is kept
        return max(_revisions(path), default=0) + 1


def _keep(path: Path | str, revision: int) -> None:
    with atomic_path(_file_of(path, revision)) as temporary:
        shutil.copyfile(bank_file(path), temporary)
    for old in _revisions(path)[:-KEPT]:
        _file_of(path, old).unlink(missing_ok=True)


def _revisions(path: Path | str) -> list[int]:
    files = history_folder(path).glob(f"*{_SUFFIX}")
    return sorted(int(file.stem) for file in files if file.stem.isdecimal())


def _file_of(path: Path | str, revision: int) -> Path:
    return history_folder(path) / f"{revision:06d}{_SUFFIX}"


@contextmanager
def _locked(path: Path | str) -> Iterator[None]:
    """Hold the lock of a bank; the system frees the lock of a program that was killed."""
    file = bank_file(path)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(file.with_name(f".{file.name}.lock"))
        lock.acquire(timeout=_LOCK_SECONDS)
    except Timeout as error:
        raise BankError("another program is changing the bank", where=file, hint="try again") from error
    except OSError as error:
        raise OutputError(f"cannot write ({error.strerror})", where=file, hint="choose a writable folder") from error
    try:
        yield
    finally:
        lock.release()


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
