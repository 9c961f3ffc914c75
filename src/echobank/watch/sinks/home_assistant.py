"""Home Assistant's MQTT discovery: one device per machine, and the state that its entities show.

Topics and keys are those of https://www.home-assistant.io/integrations/mqtt/#mqtt-discovery.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from echobank.version import __version__
from echobank.watch.events import (
    Closed,
    Heartbeat,
    Message,
    Opened,
    Scored,
    SilenceClosed,
    SilenceOpened,
    WindowMessage,
)
from echobank.watch.sinks.sink import digest

BIRTH = "status"  # below the discovery prefix: Home Assistant says "online" here when it starts
_SENSORS = {
    "score": ("Anomaly score", {"state_class": "measurement"}),
    "p_value": ("p-value", {"state_class": "measurement"}),
    "level_dbfs": ("Level", {"unit_of_measurement": "dBFS", "state_class": "measurement"}),
    "state": ("State", {}),
    "last_event": ("Last event", {"device_class": "timestamp"}),
}


@dataclass
class ShownState:
    """What the entities of a machine show.

    Attributes:
        values: Plain values; a key is missing until it is known.
    """

    values: dict[str, Any] = field(default_factory=lambda: {"state": "ok", "anomaly": "OFF"})
    _open: bool = False
    _silent: bool = False
    _paused: bool = False

    def take(self, message: Message) -> None:
        """Bring the state up to date with a message."""
        if isinstance(message, WindowMessage) and message.verdict.score is not None:
            verdict = message.verdict
            self.values |= {name: getattr(verdict, name) for name in ("score", "p_value", "level_dbfs")}
            self._paused = isinstance(message, Scored) and message.quiet in ("paused", "schedule")
        if isinstance(message, Opened):
            self._open = True
            self.values["last_event"] = message.time
        elif isinstance(message, Closed):
            self._open = False
        elif isinstance(message, SilenceOpened | SilenceClosed):
            self._silent = isinstance(message, SilenceOpened)
        elif isinstance(message, Heartbeat):
            self._open, self._paused = message.event is not None, bool(message.paused)
            if message.event is not None:
                self.values.setdefault("last_event", message.event.opened)
        self.values["anomaly"] = "ON" if self._open else "OFF"
        known = {"no_sound": self._silent, "paused": self._paused, "anomaly": self._open}
        self.values["state"] = next((name for name, holds in known.items() if holds), "ok")


def discovery(prefix: str, topic: str, machine: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield topic and configuration of every entity of a machine.

    Args:
        prefix: Discovery prefix, usually "homeassistant".
        topic: Topic of the machine; its state lies below.
        machine: Its name.
    """
    node = f"echobank_{re.sub('[^A-Za-z0-9_-]', '_', machine)}_{digest(topic)}"
    shared = {
        "state_topic": f"{topic}/state",
        "availability_topic": f"{topic}/heartbeat",
        "availability_template": "{{ 'offline' if value_json.kind == 'gone' else 'online' }}",
        "device": {"identifiers": [node], "name": machine, "manufacturer": "echobank", "sw_version": __version__},
    }
    for key, (name, more) in _SENSORS.items():
        facts = {"name": name, "unique_id": f"{node}_{key}", "value_template": f"{{{{ value_json.{key} }}}}"}
        yield f"{prefix}/sensor/{node}/{key}/config", {**shared, **facts, **more}
    facts = {"name": "Anomaly", "unique_id": f"{node}_anomaly", "value_template": "{{ value_json.anomaly }}"}
    yield f"{prefix}/binary_sensor/{node}/anomaly/config", {**shared, **facts, "device_class": "problem"}
