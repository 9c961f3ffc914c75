"""MQTT: a topic per kind of message, and a last will."""

import json
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any
from urllib.parse import unquote

from echobank.errors import ConfigError
from echobank.names import to_json
from echobank.watch.events import Message
from echobank.watch.sinks.sink import EVENTS, SinkError, digest, hidden, split_address

_CONNECT_SECONDS = 5.0


class MqttSink:
    """MQTT, quality of service 1: topic `<prefix>/<machine>/<kind>`; a last will says when the watch is gone."""

    remote = True

    def __init__(self, url: str, machine: str, kinds: frozenset[str] = EVENTS, *, timeout: float = 10.0) -> None:
        parts = split_address(url, ("mqtt", "mqtts"), "an MQTT address", "write --mqtt mqtt://host:1883/topic")
        if parts.query or parts.fragment:
            raise ConfigError("an MQTT address ends with its topic, which has no ? and no #", value=hidden(parts))
        if parts.password is not None and not parts.username:
            hint = "write mqtt://user:password@host"
            raise ConfigError("an MQTT address with a password and no user", value=hidden(parts), hint=hint)
        self._parts, self.kinds, self._timeout = parts, kinds, timeout
        self._prefix = f"{_topic(parts.path.strip('/') or 'echobank', 'the topic')}/{_topic(machine, 'the machine')}"
        self._gone = json.dumps({"kind": "gone", "machine": machine})
        self.name = f"mqtt-{parts.hostname}-{digest(f'{parts.port}/{self._prefix}')}"
        self._client: Any = None

    def send(self, messages: Sequence[Message]) -> None:
        """Publish each message and wait until the broker has acknowledged it."""
        client = self._connected()
        for message in messages:
            heartbeat = message.kind == "heartbeat"
            text = to_json(message.to_values())
            try:
                info = client.publish(f"{self._prefix}/{message.kind}", text, qos=1, retain=heartbeat)
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
        answers: list[Any] = []
        client.on_connect = lambda _client, _data, _flags, reason, _properties: answers.append(reason)
        default_port = 8883 if self._parts.scheme == "mqtts" else 1883
        try:
            client.connect(str(self._parts.hostname), self._parts.port or default_port)
            client.loop_start()
            _await(lambda: answers, self._timeout)
        except (OSError, ValueError) as error:
            client.loop_stop()
            raise SinkError(f"the MQTT broker is not there ({error})", where=self._parts.hostname) from error
        if answers[0].is_failure:
            client.disconnect()
            client.loop_stop()
            raise SinkError(f"the MQTT broker refused the connection ({answers[0]})", where=self._parts.hostname)
        self._client = client
        return client


def _topic(text: str, whose: str) -> str:
    """Return a part of a topic (MQTT 3.1.1, 4.7) after checking it.

    Raises:
        ConfigError: It has a wildcard, a control character, or begins as the broker's own topics do.
    """
    if text.startswith("$") or any(sign in "+#" or ord(sign) < 32 or 0xD800 <= ord(sign) < 0xE000 for sign in text):
        raise ConfigError(
            f"the name of {whose} cannot stand in an MQTT topic",
            value=text,
            hint="a topic has no + and no #, and does not begin with $; fit the machine under another name"
            if whose == "the machine"
            else "a topic has no + and no #, and does not begin with $",
        )
    return text


def _await(condition: Callable[[], object], seconds: float) -> None:
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
