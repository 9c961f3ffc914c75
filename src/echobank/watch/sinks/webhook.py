"""HTTP POST of every message."""

from collections.abc import Sequence

from echobank.watch.events import Message
from echobank.watch.sinks.posting import ANSWER_SECONDS, Poster
from echobank.watch.sinks.sink import EVENTS, digest, split_address


class WebhookSink:
    """HTTP POST of one JSON object per message; anything but a 2xx answer is tried again with the same id."""

    remote = True

    def __init__(self, url: str, kinds: frozenset[str] = EVENTS, *, timeout: float = ANSWER_SECONDS) -> None:
        parts = split_address(url, ("http", "https"), "a web address", "write --webhook https://host/path")
        self.url, self.kinds = url, kinds
        self.name = f"webhook-{parts.hostname}-{digest(url)}"
        self._poster = Poster(parts, "the webhook", timeout)

    def send(self, messages: Sequence[Message]) -> None:
        """Post each message; its id is also the header Idempotency-Key."""
        for message in messages:
            self._poster.post(self.url, message.to_values(), {"Idempotency-Key": message.id})

    def mark(self) -> int:
        """Return 0: what was posted stays posted."""
        return 0

    def rewind(self, mark: int) -> None:
        """Do nothing: the receiver knows a repeated id."""

    def close(self) -> None:
        """Close the connections."""
        self._poster.close()
