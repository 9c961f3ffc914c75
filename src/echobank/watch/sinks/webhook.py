"""HTTP POST of every message."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from echobank.watch.events import Message
from echobank.watch.sinks.sink import EVENTS, SinkError, digest, split_address

if TYPE_CHECKING:
    import requests

_CONNECT_SECONDS = 5.0
_ANSWER_SECONDS = 10.0


class WebhookSink:
    """HTTP POST of one JSON object per message; anything but a 2xx answer is tried again with the same id."""

    remote = True

    def __init__(self, url: str, kinds: frozenset[str] = EVENTS, *, timeout: float = _ANSWER_SECONDS) -> None:
        parts = split_address(url, ("http", "https"), "a web address", "write --webhook https://host/path")
        self.url, self.kinds, self._timeout = url, kinds, timeout
        self._where = f"{parts.scheme}://{parts.hostname}"
        self.name = f"webhook-{parts.hostname}-{digest(url)}"
        self._session: requests.Session | None = None

    def send(self, messages: Sequence[Message]) -> None:
        """Post each message; its id is also the header Idempotency-Key."""
        import requests

        self._session = self._session or requests.Session()
        for message in messages:
            try:
                answer = self._session.post(
                    self.url,
                    json=message.to_values(),
                    headers={"Idempotency-Key": message.id},
                    timeout=(_CONNECT_SECONDS, self._timeout),
                    allow_redirects=False,
                )
            except requests.RequestException as error:
                raise SinkError(f"the webhook did not answer ({type(error).__name__})", where=self._where) from error
            if not 200 <= answer.status_code < 300:
                raise SinkError("the webhook refused a message", value=answer.status_code, where=self._where)

    def mark(self) -> int:
        """Return 0: what was posted stays posted."""
        return 0

    def rewind(self, mark: int) -> None:
        """Do nothing: the receiver knows a repeated id."""

    def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            self._session.close()
