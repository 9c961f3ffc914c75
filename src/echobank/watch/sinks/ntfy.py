"""ntfy: a notification on a telephone (https://docs.ntfy.sh/publish/#publish-as-json)."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from echobank.errors import ConfigError
from echobank.watch.events import Message
from echobank.watch.sinks.notice import NOTICES, notice_of
from echobank.watch.sinks.sink import SinkError, digest, hidden, split_address

if TYPE_CHECKING:
    import requests

_SECONDS = (5.0, 10.0)  # for the connection, for the answer


class NtfySink:
    """Notifications of one topic.

    Args:
        url: https://host/topic; user and password may be part of it.
        token: Access token; empty sends none.

    Raises:
        ConfigError: Not such an address.
    """

    kinds, remote = NOTICES, True

    def __init__(self, url: str, token: str = "") -> None:
        parts = split_address(url, ("http", "https"), "an ntfy address", "write --ntfy https://ntfy.sh/topic")
        base, _, self._topic = parts.path.strip("/").rpartition("/")
        if not self._topic or parts.query or parts.fragment:
            raise ConfigError("not an ntfy address", value=hidden(parts), hint="write --ntfy https://ntfy.sh/topic")
        self._url = f"{parts.scheme}://{parts.netloc}/{base}"
        self._where = f"{parts.scheme}://{parts.hostname}"
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self.name = f"ntfy-{parts.hostname}-{digest(url)}"
        self._session: requests.Session | None = None

    def send(self, messages: Sequence[Message]) -> None:
        """Post each message."""
        import requests

        self._session = self._session or requests.Session()
        for message in messages:
            notice = notice_of(message)
            body: dict[str, object] = {"topic": self._topic, "title": notice.title, "message": notice.text}
            body |= {"priority": 4, "tags": ["warning"]} if notice.urgent else {"priority": 3}
            try:
                answer = self._session.post(self._url, json=body, headers=self._headers, timeout=_SECONDS)
            except requests.RequestException as error:
                raise SinkError(f"ntfy did not answer ({type(error).__name__})", where=self._where) from error
            if not 200 <= answer.status_code < 300:
                raise SinkError("ntfy refused a message", value=answer.status_code, where=self._where)

    def mark(self) -> int:
        """Return 0: what was posted stays posted."""
        return 0

    def rewind(self, mark: int) -> None:
        """Do nothing: a notification cannot be taken back."""

    def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            self._session.close()
