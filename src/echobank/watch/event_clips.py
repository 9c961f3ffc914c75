"""Joins the messages of a watch with the sound of its stream: which clip belongs to which event."""

import dataclasses
from collections.abc import Sequence
from typing import Protocol

from echobank.machines.verdict import Verdict
from echobank.watch.clip_keeper import ClipKeeper
from echobank.watch.events import Closed, Message, Opened, Scored, WindowMessage
from echobank.watch.feeds.feed import Arrival
from echobank.watch.feeds.stream_feed import StreamFeed
from echobank.watch.rule import RuleState


class EventSounds(Protocol):
    """Keeps the sound of events."""

    @property
    def trouble(self) -> str:
        """Why sound cannot be kept; empty when it can."""
        ...

    def mark(self, before: RuleState, messages: Sequence[Message], arrival: Arrival) -> list[Message]:
        """Return the messages of an arrival with the id of the clip in every one that has one.

        Args:
            before: State of the rule before the arrival.
            messages: What the arrival led to.
            arrival: The arrival.
        """
        ...

    def follow(self, verdicts: Sequence[Verdict], messages: Sequence[Message], threshold: float) -> None:
        """Begin and end clips; after the messages were written down."""
        ...

    def step(self) -> None:
        """Do what is due."""
        ...

    def close(self) -> None:
        """Finish."""
        ...


class EventClips:
    """The clips of one stream.

    Args:
        feed: The stream.
        keeper: Writes the clips.
    """

    def __init__(self, feed: StreamFeed, keeper: ClipKeeper) -> None:
        self._feed, self._keeper = feed, keeper

    @property
    def trouble(self) -> str:
        """Why clips cannot be kept."""
        return self._keeper.trouble

    def mark(self, before: RuleState, messages: Sequence[Message], arrival: Arrival) -> list[Message]:
        """Return the messages with the id of the clip in every one that belongs to an event."""
        event = before.event.id if before.event else None
        marked: list[Message] = []
        for number, message in enumerate(messages):
            if isinstance(message, Scored):  # the message that opens an event follows the score of its window
                following = messages[number + 1] if number + 1 < len(messages) else None
                event = following.event if isinstance(following, Opened) else event
            if isinstance(message, WindowMessage):
                marked.append(dataclasses.replace(message, clip=event))
            else:
                marked.append(message)
            if isinstance(message, Closed):
                event = None
        return marked

    def follow(self, verdicts: Sequence[Verdict], messages: Sequence[Message], threshold: float) -> None:
        """Begin and end clips as the events of an arrival do."""
        track = self._feed.capture.reception.track
        changes = [message for message in messages if isinstance(message, (Opened, Closed))]
        if track is None or len(verdicts) != len(self._feed.batch):
            return
        going = next((m.clip for m in messages if isinstance(m, Scored) and m.clip), None)
        if going and not changes and not self._keeper.holds(going):  # an event that was open before a restart
            self._keeper.opened(going, self._feed.batch[0], track)
        for live, verdict in zip(self._feed.batch, verdicts, strict=True):
            self._keeper.heard(live, above=verdict.score is not None and verdict.score > threshold)
            for message in changes:
                if message.verdict.start == verdict.start and isinstance(message, Opened):
                    self._keeper.opened(message.event, live, track)
                elif message.verdict.start == verdict.start:
                    self._keeper.closed(live)
        self._keeper.step(track)

    def step(self) -> None:
        """Append what has come since."""
        self._keeper.step(self._feed.capture.reception.track)

    def close(self) -> None:
        """Append what is left and finish."""
        self.step()
        self._keeper.close()
