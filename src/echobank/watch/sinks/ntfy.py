"""ntfy: a notification on a telephone (https://docs.ntfy.sh/publish/#publish-as-json)."""

from collections.abc import Sequence

from echobank.errors import ConfigError
from echobank.watch.events import Message
from echobank.watch.sinks.notice import NOTICES, notice_of
from echobank.watch.sinks.posting import Poster
from echobank.watch.sinks.sink import digest, hidden, split_address


class NtfySink:
    """Notifications of one topic.

    Args:
        url: https://host/topic; user and password may be part of it.
        token: Access token; empty sends none.

    Raises:
        ConfigError: It is not such an address.
    """

    kinds, remote = NOTICES, True

    def __init__(self, url: str, token: str = "") -> None:
        parts = split_address(url, ("http", "https"), "an ntfy address", "write --ntfy https://ntfy.sh/topic")
        base, _, self._topic = parts.path.strip("/").rpartition("/")
        if not self._topic or parts.query or parts.fragment:
            raise ConfigError("not an ntfy address", value=hidden(parts), hint="write --ntfy https://ntfy.sh/topic")
        self._url = f"{parts.scheme}://{parts.netloc}/{base}"
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self.name = f"ntfy-{parts.hostname}-{digest(url)}"
        self._poster = Poster(parts, "ntfy")

    def send(self, messages: Sequence[Message]) -> None:
        """Post each message."""
        for message in messages:
            notice = notice_of(message)
            body: dict[str, object] = {"topic": self._topic, "title": notice.title, "message": notice.text}
            body |= {"priority": 4, "tags": ["warning"]} if notice.urgent else {"priority": 3}
            self._poster.post(self._url, body, self._headers)

    def mark(self) -> int:
        """Return 0: what was posted stays posted."""
        return 0

    def rewind(self, mark: int) -> None:
        """Do nothing: a notification cannot be taken back."""

    def close(self) -> None:
        """Close the connections."""
        self._poster.close()
