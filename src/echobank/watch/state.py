"""The state of a watch: what is seen, where the rule stands, and the journal that is also the outbox of every sink.

One line of the journal holds everything a recording led to: that it was seen, the state of the rule, and the messages.
It is written in one piece, so a watch that is killed has either done a recording or not.
"""

import json
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from echobank.errors import InputError
from echobank.journal import Journal, read_journal
from echobank.storage import write_bytes
from echobank.watch.events import Message, OpenSilence
from echobank.watch.rule import RuleState

_LONG_JOURNAL = 32 << 20  # bytes after its first line; then what is delivered everywhere is forgotten


class WatchState:
    """What a watch must not forget; one watch at a time holds it.

    Args:
        folder: Where it is kept.
        identity: Machine and feed that it belongs to.
        start: Returns what counts as seen at the very first start.

    Raises:
        InputError: Another watch holds it, or it belongs to another machine or feed.
        OutputError: It cannot be written.
    """

    def __init__(self, folder: Path, identity: Mapping[str, str], start: Callable[[], dict[str, str]]) -> None:
        self._lock = _hold(folder)
        self.file = folder / "journal.jsonl"
        self.seen: dict[str, str] = {}
        self.rule = RuleState()
        self.silence: OpenSilence | None = None
        self.generation, self._first_line = "", 0
        self._identity = dict(identity)
        try:
            if self._replay():
                self._journal = Journal(self.file, durable=True)
            else:
                self.seen = start()
                self._write_header()
        except BaseException:
            self._lock.release()
            raise

    @property
    def long(self) -> bool:
        """Whether the journal has grown so long that it should start over."""
        return self.file.stat().st_size - self._first_line >= _LONG_JOURNAL

    def record(self, name: str, stamp: str, rule: RuleState, messages: Sequence[Message]) -> None:
        """Write down, whole or not at all, that a piece is done and what it led to.

        Raises:
            OutputError: The disk is full or gone.
        """
        self._append(name, stamp, rule, self.silence, messages)
        self.seen[name], self.rule = stamp, rule

    def record_silence(self, silence: OpenSilence | None, messages: Sequence[Message]) -> None:
        """Write down that a silence opened or closed.

        Raises:
            OutputError: The disk is full or gone.
        """
        self._append("", "", self.rule, silence, messages)
        self.silence = silence

    def start_over(self, seen: dict[str, str]) -> None:
        """Replace the journal by its first line; for when every sink has all of it.

        Args:
            seen: What must still be known as seen.

        Raises:
            OutputError: The disk is full or gone.
        """
        self.seen = seen
        self._write_header(self._journal)

    def close(self) -> None:
        """Close the journal and let the next watch have it."""
        self._journal.close()
        self._lock.release()

    def _append(
        self, name: str, stamp: str, rule: RuleState, silence: OpenSilence | None, messages: Sequence[Message]
    ) -> None:
        plain = [message.to_values() for message in messages]
        record = {"file": name, "stamp": stamp, "state": _state_values(rule, silence), "messages": plain}
        self._journal.append(record)

    def _replay(self) -> bool:
        records = read_journal(self.file)
        first = next(records, None)
        if first is None:
            return False
        header = first[1]
        if any(header.get(key) != value for key, value in self._identity.items()):
            source = header.get("folder", header.get("source"))
            raise InputError(
                "the state belongs to another watch",
                value=f"{header.get('machine')} in {source}",
                where=self.file,
                hint="give another --state",
            )
        self.generation, self._first_line = str(header["generation"]), first[0]
        self.seen.update(header["seen"])
        state = header["state"]
        for _, record in records:
            state = record["state"]
            if record["file"]:
                self.seen[record["file"]] = record["stamp"]
        self.rule = RuleState.from_values(state)
        self.silence = OpenSilence(**state["silence"]) if state.get("silence") else None
        return True

    def _write_header(self, journal: Journal | None = None) -> None:
        """Replace the journal, in one step, by its first line."""
        generation = uuid.uuid4().hex
        kept = {"generation": generation, "seen": self.seen, "state": _state_values(self.rule, self.silence)}
        line = json.dumps({**self._identity, **kept}, ensure_ascii=False).encode("utf-8", "surrogatepass") + b"\n"
        if journal:
            journal.replace(line)
        else:
            write_bytes(self.file, line)
            self._journal = Journal(self.file, durable=True)
        self.generation, self._first_line = generation, len(line)


def _state_values(rule: RuleState, silence: OpenSilence | None) -> dict[str, Any]:
    return {**rule.to_values(), **({"silence": silence.to_values()} if silence else {})}


def _hold(folder: Path) -> FileLock:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / ".lock")
        lock.acquire(timeout=0)
    except Timeout as error:
        raise InputError("another watch is running with this state", where=folder) from error
    except OSError as error:
        hint = "give a folder that is writable: --state DIR"
        raise InputError(f"the state cannot be kept ({error.strerror})", where=folder, hint=hint) from error
    return lock
