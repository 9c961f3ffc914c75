"""Messages: what is written is read back, in the order of keys that readers rely on; what is unknown is refused."""

import json
import subprocess
import sys

import pytest

from echobank.errors import InputError
from echobank.machines.verdict import COLUMNS, Verdict
from echobank.watch.events import (
    Closed,
    Failed,
    Heartbeat,
    Opened,
    OpenEvent,
    Scored,
    SilenceClosed,
    SilenceOpened,
    TrialAlarm,
    message_from,
)

WINDOW = {
    "id": "1",
    "machine": "pump",
    "time": "now",
    "file_time": "then",
    "verdict": Verdict("a.wav", 1.0, 2.0, 0.5, 0.1, 99.0, 1, "b.wav", 0.0, -30.0, "short"),
}
STORY = {"event": "0", "opened": "then", "peak": 9.0, "windows": 4}
LIVE = ["age", "conditions", "paused", "muted"]
MESSAGES = [
    Scored(**WINDOW),
    Failed(**{**WINDOW, "verdict": Verdict("a.wav", error="empty")}),
    Opened(**WINDOW, threshold=0.4, event="1"),
    Closed(**WINDOW, **STORY),
    Heartbeat(id="2", machine="pump", time="now", files=3, event=OpenEvent("1", "a.wav", "now", 0.5, 2)),
    Heartbeat(
        id="3", machine="pump", time="now", files=0, troubles=("the disk is full",), conditions=({"kind": "gap"},)
    ),
    SilenceOpened(id="4", machine="pump", time="now", event="4", seconds=300.0, where="from mic"),
    SilenceClosed(id="5", machine="pump", time="now", event="4", opened="then", where="from mic"),
    TrialAlarm(id="6", machine="pump", time="now"),
]


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: message.kind)
def test_what_is_written_is_read_back(message):
    assert message_from(json.loads(json.dumps(message.to_values()))) == message


@pytest.mark.parametrize(
    ("message", "keys"),
    [
        (MESSAGES[0], ["id", "kind", "machine", "time", "file_time", *COLUMNS]),
        (MESSAGES[2], ["id", "kind", "machine", "time", "file_time", "threshold", *COLUMNS, "event"]),
        (MESSAGES[3], ["id", "kind", "machine", "time", "file_time", *STORY, *COLUMNS]),
        (
            MESSAGES[4],
            ["id", "kind", "machine", "time", "files", "event", "troubles", *LIVE],
        ),
    ],
)
def test_keys_and_their_order(message, keys):
    assert list(message.to_values()) == keys


@pytest.mark.parametrize("values", [{}, {"kind": "song"}, {"kind": "open", "id": "1"}])
def test_what_is_no_message_is_refused(values):
    with pytest.raises(InputError, match="kind"):
        message_from(values)


def test_sinks_import_neither_scorer_nor_encoder():
    names = ("csv_file", "lines", "mqtt", "webhook")
    code = f"""
import importlib, sys
for name in {names}:
    importlib.import_module(f"echobank.watch.sinks.{{name}}")
heavy = ("echobank.models", "echobank.detection", "numpy", "soundfile", "requests", "paho", "torch")
print([name for name in heavy if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
