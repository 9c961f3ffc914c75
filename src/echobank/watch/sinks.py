"""Sinks: where messages go. `send` returns when the other side has taken the messages, and raises when it has not.

Troubles name the host alone: a path or query of a webhook is often a secret, and troubles are told to other sinks.
"""

import csv
import hashlib
import io
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol, TextIO
from urllib.parse import unquote, urlsplit

import requests

from echobank.errors import ConfigError, EchobankError
from echobank.machines.verdict import COLUMNS
from echobank.watch.events import Message

EVENTS = frozenset({"open", "close", "error", "heartbeat"})
ROWS = frozenset({"open", "close", "error", "score"})
CSV_COLUMNS = ("id", "kind", "machine", "time", "file_time", "event", *COLUMNS)
_CONNECT_SECONDS = 5.0
_ANSWER_SECONDS = 10.0


class SinkError(EchobankError):
    """A sink did not take a message; it is sent again later."""


class Sink(Protocol):
    """A place that messages go to.

    Attributes:
        name: Short name, unique among the sinks of a watch; the key of what is already delivered.
        kinds: Kinds of messages that it wants.
        remote: Whether it lies behind a network, and may take its time.
    """

    name: str
    kinds: frozenset[str]
    remote: bool

    def send(self, messages: Sequence[Message]) -> None:
        """Deliver messages in order.

        Raises:
            SinkError: Not all of them were taken for certain.
        """
        ...

    def mark(self) -> int:
        """Return a position that `rewind` goes back to."""
        ...

    def rewind(self, mark: int) -> None:
        """Take back what was sent after a mark, where that is possible: a restart then doubles nothing."""
        ...

    def close(self) -> None:
        """Let go of files and connections."""
        ...


class LineSink:
    """JSON lines on a stream, by default standard output."""

    remote = False

    def __init__(self, stream: TextIO | None = None, kinds: frozenset[str] = EVENTS | ROWS) -> None:
        self.name, self.kinds = "stdout", kinds
        self._stream = stream or sys.stdout

    def send(self, messages: Sequence[Message]) -> None:
        """Write one line a message."""
        for message in messages:
            self._stream.write(json.dumps(message, ensure_ascii=False) + "\n")
        self._stream.flush()

    def mark(self) -> int:
        """Return 0: what was printed stays printed."""
        return 0

    def rewind(self, mark: int) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing: the stream is not this sink's own."""


class CsvSink:
    """A CSV file that grows; every row exactly once, since a restart cuts off rows that were not yet marked."""

    remote = False

    def __init__(self, path: Path | str, kinds: frozenset[str] = ROWS) -> None:
        self.path, self.kinds = Path(path), kinds
        self.name = f"csv-{self.path.name}-{_digest(str(self.path.resolve()))}"

    def send(self, messages: Sequence[Message]) -> None:
        """Append one row a message, all or none, and wait for the disk: the cursor must not be ahead of the rows."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("ab", buffering=0) as stream:
                size = stream.tell()
                rows = memoryview(_csv_rows(messages, header=size == 0))
                try:
                    while rows:
                        rows = rows[stream.write(rows) :]
                    os.fsync(stream.fileno())
                except OSError:
                    with suppress(OSError):
                        stream.truncate(size)
                    raise
        except OSError as error:
            raise SinkError(f"cannot write ({error.strerror})", where=self.path) from error

    def mark(self) -> int:
        """Return the size of the file in bytes."""
        return self.path.stat().st_size if self.path.exists() else 0

    def rewind(self, mark: int) -> None:
        """Cut the file back to its size at a mark; one that was begun anew or edited meanwhile is left alone."""
        if self.mark() <= mark:
            return
        try:
            with self.path.open("r+b") as stream:
                stream.seek(max(mark - 1, 0))
                if mark == 0 or stream.read(1) == b"\n":
                    stream.truncate(mark)
        except OSError as error:
            raise SinkError(f"cannot write ({error.strerror})", where=self.path) from error

    def close(self) -> None:
        """Do nothing: the file is opened for each write."""


class WebhookSink:
    """HTTP POST of one JSON object a message; anything but a 2xx answer is tried again with the same id."""

    remote = True

    def __init__(self, url: str, kinds: frozenset[str] = EVENTS, *, timeout: float = _ANSWER_SECONDS) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigError("not a web address", value=url, hint="write --webhook https://host/path")
        self.url, self.kinds, self._timeout = url, kinds, timeout
        self._where = f"{parts.scheme}://{parts.hostname}"
        self.name = f"webhook-{parts.hostname}-{_digest(url)}"
        self._session = requests.Session()

    def send(self, messages: Sequence[Message]) -> None:
        """Post each message; its id is also the header Idempotency-Key."""
        for message in messages:
            try:
                answer = self._session.post(
                    self.url,
                    json=message,
                    headers={"Idempotency-Key": message["id"]},
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
        self._session.close()


class MqttSink:
    """MQTT, quality of service 1: topic `<prefix>/<machine>/<kind>`; a last will says when the watch is gone."""

    remote = True

    def __init__(self, url: str, machine: str, kinds: frozenset[str] = EVENTS, *, timeout: float = 10.0) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("mqtt", "mqtts") or not parts.hostname:
            raise ConfigError("not an MQTT address", value=url, hint="write --mqtt mqtt://host:1883/topic")
        self._parts, self.kinds, self._timeout = parts, kinds, timeout
        self._prefix = f"{parts.path.strip('/') or 'echobank'}/{machine}"
        self._gone = json.dumps({"kind": "gone", "machine": machine})
        self.name = f"mqtt-{parts.hostname}-{_digest(f'{parts.port}/{self._prefix}')}"
        self._client: Any = None

    def send(self, messages: Sequence[Message]) -> None:
        """Publish each message and wait until the broker has acknowledged it."""
        client = self._connected()
        for message in messages:
            heartbeat = message["kind"] == "heartbeat"
            text = json.dumps(message, ensure_ascii=False)
            try:
                info = client.publish(f"{self._prefix}/{message['kind']}", text, qos=1, retain=heartbeat)
                info.wait_for_publish(self._timeout)
                taken = info.is_published()
            except (ValueError, RuntimeError):
                taken = False
            if not taken:
                self._hang_up()  # a new connection, so that the old one does not send it once more behind our back
                raise SinkError("the MQTT broker did not acknowledge a message", where=self._parts.hostname)

    def mark(self) -> int:
        """Return 0: what was published stays published."""
        return 0

    def rewind(self, mark: int) -> None:
        """Do nothing: the receiver knows a repeated id."""

    def close(self) -> None:
        """Say goodbye, since a last will is for sudden deaths alone, and leave the broker."""
        if self._client is not None and self._client.is_connected():
            with suppress(ValueError, RuntimeError):
                info = self._client.publish(f"{self._prefix}/heartbeat", self._gone, qos=1, retain=True)
                info.wait_for_publish(_CONNECT_SECONDS)
        self._hang_up()

    def _hang_up(self) -> None:
        if self._client is not None:
            self._client.disconnect()
            self._client.loop_stop()
            self._client = None

    def _connected(self) -> Any:
        if self._client is not None and self._client.is_connected():
            return self._client
        self._hang_up()
        mqtt = _paho()
        client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2)
        if self._parts.username:
            client.username_pw_set(unquote(self._parts.username), unquote(self._parts.password or ""))
        if self._parts.scheme == "mqtts":
            client.tls_set()
        client.will_set(f"{self._prefix}/heartbeat", self._gone, qos=1, retain=True)
        client.connect_timeout = _CONNECT_SECONDS
        default_port = 8883 if self._parts.scheme == "mqtts" else 1883
        try:
            client.connect(str(self._parts.hostname), self._parts.port or default_port)
            client.loop_start()
            _await(client.is_connected, self._timeout)
        except (OSError, ValueError) as error:
            client.loop_stop()
            raise SinkError(f"the MQTT broker is not there ({error})", where=self._parts.hostname) from error
        self._client = client
        return client


def _csv_rows(messages: Sequence[Message], *, header: bool) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, CSV_COLUMNS, extrasaction="ignore", lineterminator="\n")
    if header:
        writer.writeheader()
    writer.writerows(messages)
    return text.getvalue().encode("utf-8", "backslashreplace")


def _digest(text: str) -> str:
    """Return eight signs that tell two addresses apart, and give away neither."""
    return hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()[:8]


def _await(condition: Callable[[], bool], seconds: float) -> None:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError("no answer to the connection")
        time.sleep(0.01)


def _paho() -> Any:
    try:
        import paho.mqtt.client as mqtt
    except ImportError as error:
        raise ConfigError("MQTT needs paho-mqtt", hint="pip install 'echobank[live]'") from error
    return mqtt
