"""MQTT: a topic per kind of message, and a last will."""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from echobank.errors import ConfigError
from echobank.names import to_json
from echobank.watch.events import Message
from echobank.watch.sinks.home_assistant import BIRTH, ShownState
from echobank.watch.sinks.home_assistant import discovery as announced
from echobank.watch.sinks.sink import EVENTS, SinkError, digest, hidden, split_address

_CONNECT_SECONDS = 5.0


@dataclass(frozen=True)
class MqttAccess:
    """How to log in to a broker.

    Attributes:
        user: Name; empty takes that of the address.
        password: Its password; empty takes that of the address.
        ca: File of the certificates that the broker's must be signed by; empty takes those of the system.
        certificate: File of our own certificate; empty for none.
        key: File of its key.
    """

    user: str = ""
    password: str = field(default="", repr=False)
    ca: str = ""
    certificate: str = ""
    key: str = ""


class MqttSink:
    """MQTT, quality of service 1: topic `<prefix>/<machine>/<kind>`; a last will says when the watch is gone.

    Args:
        url: mqtt:// or mqtts:// (TLS), host, port and prefix.
        machine: The machine.
        kinds: Kinds of messages that are published.
        timeout: Seconds that the broker may take to acknowledge.
        access: User and certificates.
        discovery: Home Assistant's discovery prefix; empty announces nothing. With it, a retained `state` is kept too.

    Raises:
        ConfigError: Not such an address, or a name that a topic cannot have.
    """

    remote = True

    def __init__(
        self,
        url: str,
        machine: str,
        kinds: frozenset[str] = EVENTS,
        *,
        timeout: float = 10.0,
        access: MqttAccess | None = None,
        discovery: str = "",
    ) -> None:
        parts = split_address(url, ("mqtt", "mqtts"), "an MQTT address", "write --mqtt mqtt://host:1883/topic")
        if parts.query or parts.fragment:
            raise ConfigError("an MQTT address ends with its topic, which has no ? and no #", value=hidden(parts))
        if parts.password is not None and not parts.username:
            hint = "write mqtt://user:password@host"
            raise ConfigError("an MQTT address with a password and no user", value=hidden(parts), hint=hint)
        self._access = access or MqttAccess()
        if parts.scheme != "mqtts" and (self._access.ca or self._access.certificate):
            raise ConfigError("certificates need an encrypted connection", hint="write --mqtt mqtts://host:8883/topic")
        self._parts, self._published, self._timeout = parts, kinds, timeout
        self._machine, self._discovery = machine, _topic(discovery.strip("/"), "the discovery")
        self.kinds = kinds | {"score"} if discovery else kinds
        self._shown = ShownState()
        self._obey: Callable[[str], object] = lambda _: None
        self._prefix = f"{_topic(parts.path.strip('/') or 'echobank', 'the topic')}/{_topic(machine, 'the machine')}"
        self._gone = json.dumps({"kind": "gone", "machine": machine})
        self.name = f"mqtt-{parts.hostname}-{digest(f'{parts.port}/{self._prefix}')}"
        self._client: Any = None

    def send(self, messages: Sequence[Message]) -> None:
        """Publish each message and wait until the broker has acknowledged it."""
        client = self._connected()
        for message in messages:
            if message.kind in self._published:
                self._publish(client, message.kind, message.to_values(), retain=message.kind == "heartbeat")
            self._shown.take(message)
        if self._discovery:
            self._publish(client, "state", self._shown.values, retain=True)

    def obey(self, take: Callable[[str], None]) -> None:
        """Pass every command that arrives on topic `<prefix>/<machine>/command` to a function, in another thread."""
        self._obey = take

    def _publish(self, client: Any, kind: str, values: Mapping[str, Any], *, retain: bool) -> None:
        try:
            info = client.publish(f"{self._prefix}/{kind}", to_json(values), qos=1, retain=retain)
            info.wait_for_publish(self._timeout)
            taken = info.is_published()
        except (ValueError, RuntimeError):
            taken = False
        if not taken:
            self._hang_up()  # a new connection, so that the old one does not send it once more behind our back
            raise SinkError("the MQTT broker did not acknowledge a message", where=self._parts.hostname)

    def _greet(self, client: Any) -> None:
        """Announce the machine and listen for commands; after every connection, and when Home Assistant starts."""
        client.subscribe(f"{self._prefix}/command", qos=1)
        if not self._discovery:
            return
        client.subscribe(f"{self._discovery}/{BIRTH}", qos=1)
        for topic, facts in announced(self._discovery, self._prefix, self._machine):
            client.publish(topic, to_json(facts), qos=1, retain=True)

    def _hear(self, client: Any, topic: str, payload: bytes) -> None:
        word = payload.decode("utf-8", "replace").strip().lower()
        if topic == f"{self._prefix}/command":
            self._obey(word)
        elif word == "online":
            self._greet(client)
            client.publish(f"{self._prefix}/state", to_json(self._shown.values), qos=1, retain=True)

    def mark(self) -> int:
        """Return 0: what was published stays published."""
        return 0

    def rewind(self, mark: int) -> None:
        """Do nothing: the receiver knows a repeated id."""

    def close(self) -> None:
        """Publish that the watch ends, since a last will covers only lost connections, and disconnect."""
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
        access = self._access
        user = access.user or unquote(self._parts.username or "")
        if user:
            client.username_pw_set(user, access.password or unquote(self._parts.password or ""))
        if self._parts.scheme == "mqtts":
            self._encrypt(client)
        client.will_set(f"{self._prefix}/heartbeat", self._gone, qos=1, retain=True)
        client.connect_timeout = _CONNECT_SECONDS
        answers: list[Any] = []

        def connected(client: Any, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
            answers.append(reason)
            if not reason.is_failure:
                self._greet(client)

        client.on_connect = connected
        client.on_message = lambda client, _data, message: self._hear(client, message.topic, message.payload)
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

    def _encrypt(self, client: Any) -> None:
        access = self._access
        try:
            client.tls_set(access.ca or None, access.certificate or None, access.key or None)
        except (OSError, ValueError) as error:  # a file that is not there, or holds no certificate
            files = ", ".join(filter(None, (access.ca, access.certificate, access.key)))
            raise SinkError(f"the certificates cannot be used ({error})", where=files) from error


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
