"""The sound of events of declared sources: a recording of a folder is copied, a stream is cut; both become clips."""

import json
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from echobank.errors import EchobankError
from echobank.machines.verdict import Verdict
from echobank.serve.clip_store import ClipStore
from echobank.serve.intake import insert_new
from echobank.serve.schema import clips
from echobank.serve.writer import Writer
from echobank.watch.clip_keeper import ClipKeeper, ClipSettings
from echobank.watch.event_clips import EventClips
from echobank.watch.events import Message, Scored, WindowMessage
from echobank.watch.feeds.feed import Arrival
from echobank.watch.feeds.stream_feed import StreamFeed
from echobank.watch.feeds.track import Track
from echobank.watch.rule import RuleState

_ADOPT_EVERY = 2.0  # seconds between two looks at whether a clip is finished


class FolderSounds:
    """Keeps the recordings of a folder in which a window is anomalous.

    Args:
        store: Where they are kept.
        writer: The writer of the database.
        machine: Number of the machine.
    """

    def __init__(self, store: ClipStore, writer: Writer, machine: int) -> None:
        self._store, self._writer, self._machine = store, writer, machine
        self.trouble = ""

    def mark(self, before: RuleState, messages: Sequence[Message], arrival: Arrival) -> list[Message]:
        """Keep the recording before its messages are written down, so that none names sound that is not there."""
        heard = arrival.heard
        if not any(isinstance(one, Scored) and one.verdict.decision for one in messages):
            return list(messages)
        try:
            row = self._store.keep(heard.path, self._machine, heard.sha256, heard.seconds)
            self._writer.run(lambda connection: insert_new(connection, clips, [row]) and None)
        except EchobankError as error:
            self.trouble = f"clips cannot be kept: {error}"
            return list(messages)
        except OSError as error:
            self.trouble = f"clips cannot be kept ({error.strerror or error})"
            return list(messages)
        self.trouble = ""
        return [replace(one, clip=row["id"]) if isinstance(one, WindowMessage) else one for one in messages]

    def follow(self, verdicts: Sequence[Verdict], messages: Sequence[Message], threshold: float) -> None:
        """Do nothing: there is nothing left to do."""

    def step(self) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


class _SparingKeeper(ClipKeeper):
    """Appends nothing while the disk is full but for what is left free."""

    def __init__(self, settings: ClipSettings, machine: str, recent: int, store: ClipStore) -> None:
        self._store = store
        super().__init__(settings, machine, recent)

    def step(self, track: Track | None) -> None:
        """Append what has come since, where there is room."""
        try:
            self._store.require(0)
        except EchobankError as error:
            self.trouble = f"clips cannot be kept: {error}"
            return
        super().step(track)


class StreamSounds(EventClips):
    """Cuts clips as `listen` does, and hands the finished ones to the store.

    Args:
        feed: The stream.
        settings: How clips are cut; their folder holds the unfinished ones.
        recent: How many windows an event looks back.
        store: Where finished clips are kept.
        machine: Name and number of the machine.
    """

    def __init__(
        self, feed: StreamFeed, settings: ClipSettings, recent: int, store: ClipStore, machine: tuple[str, int]
    ) -> None:
        super().__init__(feed, _SparingKeeper(settings, machine[0], recent, store))
        self._place, self._store, self._number = settings.folder / machine[0], store, machine[1]
        self._refused, self._next = "", 0.0

    @property
    def trouble(self) -> str:
        """Why clips cannot be kept."""
        return super().trouble or self._refused

    def step(self) -> None:
        """Append what has come since, and hand over what is finished."""
        super().step()
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + _ADOPT_EVERY
            self._adopt()

    def close(self) -> None:
        """Finish, and hand over."""
        super().close()
        self._adopt()

    def _adopt(self) -> None:
        try:
            for facts in sorted(self._place.glob("*.json")):
                if not facts.name.endswith(".part.json"):
                    self._take(facts)
            self._refused = ""
        except EchobankError as error:
            self._refused = f"clips cannot be kept: {error}"
        except OSError as error:
            self._refused = f"clips cannot be kept ({error.strerror or error})"

    def _take(self, facts: Path) -> None:
        known = json.loads(facts.read_text(encoding="utf-8"))
        seconds = sum(stretch["frames"] for stretch in known["stretches"]) / known["sample_rate"]
        self._store.adopt(facts.stem, facts.with_suffix(".flac"), self._number, seconds)
        facts.unlink(missing_ok=True)
