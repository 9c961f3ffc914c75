"""MQTT through a real broker, Debian's Mosquitto, that goes and comes."""

import json
import socket
import subprocess
import time

import pytest

from echobank.watch.events import Heartbeat
from echobank.watch.outbox import Delivery
from echobank.watch.sinks.mqtt import MqttSink
from tests.requirements import require
from tests.watch.deliveries import Clock, outbox, until


class Broker:
    """Mosquitto on a free port, with what it keeps on disk."""

    def __init__(self, program, folder):
        self._program = program
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        folder.mkdir()
        folder.chmod(0o777)
        self._config = folder / "mosquitto.conf"
        self._config.write_text(
            f"listener {self.port} 127.0.0.1\nallow_anonymous true\npersistence true\n"
            f"persistence_location {folder}/\nuser root\nmax_queued_messages 0\n"
        )
        self.start()

    def start(self):
        self._process = subprocess.Popen([self._program, "-c", self._config], stderr=subprocess.DEVNULL)
        for _ in range(200):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.02)
        raise TimeoutError("mosquitto does not start")

    def stop(self):
        self._process.terminate()
        self._process.wait(10)


class Listener:
    """A subscriber with a lasting session: every delivery it got, by topic."""

    def __init__(self, port):
        import paho.mqtt.client as mqtt

        self.got = []
        self.client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id="listener", clean_session=False)
        self.client.on_connect = lambda client, *_: client.subscribe("plant/#", qos=1)
        self.client.on_message = lambda _client, _data, m: self.got.append((m.topic, json.loads(m.payload)))
        self.client.reconnect_delay_set(0.05, 0.1)
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()
        time.sleep(0.2)

    def close(self):
        self.client.disconnect()
        self.client.loop_stop()


@pytest.fixture
def broker(tmp_path):
    it = Broker(require("mosquitto"), tmp_path / "broker")
    yield it
    it.stop()


def test_mqtt_gets_everything_through_a_broker_that_goes_and_comes(broker, tmp_path):
    journal, clock = outbox(tmp_path, 60), Clock()
    listener = Listener(broker.port)
    make = lambda: MqttSink(f"mqtt://127.0.0.1:{broker.port}/plant", "pump", timeout=1.0)  # noqa: E731
    delivery = Delivery(make(), tmp_path, clock)
    delivery.pump(journal, "g", limit=20)
    until(lambda: len(listener.got) >= 19)
    broker.stop()
    delivery.pump(journal, "g", limit=5)
    assert not delivery.done and delivery.trouble
    broker.start()
    for _ in range(20):
        clock.now += 120
        delivery.pump(journal, "g", limit=20)
        delivery.close()
        delivery = Delivery(make(), tmp_path, clock)
    delivery.pump(journal, "g")
    assert delivery.done
    until(lambda: len({m["id"] for _, m in listener.got if m["kind"] == "open"}) == 60)
    assert {topic for topic, m in listener.got if m["kind"] == "open"} == {"plant/pump/open"}
    delivery.close()
    listener.close()


def test_mqtt_keeps_the_last_heartbeat_and_tells_when_the_watch_is_gone(broker):
    sink = MqttSink(f"mqtt://127.0.0.1:{broker.port}/plant", "pump")
    sink.send([Heartbeat(id="1", machine="pump", time="now", files=3)])
    listener = Listener(broker.port)
    until(lambda: any(m.get("files") == 3 for _, m in listener.got))
    sink._client.socket().shutdown(socket.SHUT_RDWR)  # as if the machine lost its power
    sink._client.loop_stop()
    until(lambda: any(m["kind"] == "gone" for _, m in listener.got))
    listener.close()


def test_a_watch_that_is_stopped_says_goodbye(broker):
    sink = MqttSink(f"mqtt://127.0.0.1:{broker.port}/plant", "pump")
    sink.send([Heartbeat(id="1", machine="pump", time="now", files=3)])
    sink.close()
    listener = Listener(broker.port)
    until(lambda: listener.got)
    assert listener.got == [("plant/pump/heartbeat", {"kind": "gone", "machine": "pump"})]
    listener.close()
