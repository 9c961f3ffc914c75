"""HTTP POST of JSON, one request per message: what the sinks that speak HTTP share."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult

from echobank.watch.sinks.sink import SinkError

if TYPE_CHECKING:
    import requests

_CONNECT_SECONDS = 5.0
ANSWER_SECONDS = 10.0


class Poster:
    """Connections to one host. A redirect is refused: it would carry what was heard, and tokens, to another host.

    Args:
        parts: The address, for messages; they name its host alone.
        what: What is there, for messages.
        timeout: Seconds that an answer may take.
    """

    def __init__(self, parts: SplitResult, what: str, timeout: float = ANSWER_SECONDS) -> None:
        self._where, self._what, self._timeout = f"{parts.scheme}://{parts.hostname}", what, timeout
        self._session: requests.Session | None = None

    def post(self, url: str, body: Mapping[str, Any], headers: Mapping[str, str]) -> None:
        """Post one object and wait for the answer.

        Raises:
            SinkError: No answer, or one that is not 2xx.
        """
        import requests

        self._session = self._session or requests.Session()
        waits = (_CONNECT_SECONDS, self._timeout)
        try:
            answer = self._session.post(url, json=body, headers=headers, timeout=waits, allow_redirects=False)
        except requests.RequestException as error:
            raise SinkError(f"{self._what} did not answer ({type(error).__name__})", where=self._where) from error
        if not 200 <= answer.status_code < 300:
            raise SinkError(f"{self._what} refused a message", value=answer.status_code, where=self._where)

    def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            self._session.close()
