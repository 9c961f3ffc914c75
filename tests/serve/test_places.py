"""What is committed goes on to a real broker and a web server, once by its id, whatever is killed meanwhile."""

import json
import re
import threading
import time
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import jinja2
import pytest

from echobank.cli import main
from echobank.serve.courier import Destination
from echobank.serve.premises import ServiceSettings
from echobank.watch.sinks.mqtt import MqttSink
from echobank.watch.sinks.webhook import WebhookSink
from tests.requirements import needs, require
from tests.serve.serving import served, sound
from tests.watch.deliveries import until
from tests.watch.test_mqtt import Broker

pytestmark = needs("posix")
UPLOAD = "/api/machines/pump/recordings"
# https://www.home-assistant.io/integrations/mqtt/#discovery-messages, sensor.mqtt and binary_sensor.mqtt
COMMON = {"name", "unique_id", "state_topic", "value_template", "device", "availability_topic", "availability_template"}
KEYS = {
    "sensor": {*COMMON, "device_class", "state_class", "unit_of_measurement"},
    "binary_sensor": {*COMMON, "device_class"},
}
CLASSES = {"sensor": {"timestamp"}, "binary_sensor": {"problem"}}
DEVICE = {"identifiers", "name", "manufacturer", "sw_version"}
TOPIC = re.compile(r"homeassistant/(sensor|binary_sensor)/([A-Za-z0-9_-]+)/([A-Za-z0-9_-]+)/config")


@pytest.fixture
def settings(bank, tmp_path):
    """Return the settings of a service on SQLite: nothing here depends on the database."""
    return ServiceSettings(banks=bank.parent, folder=tmp_path / "data", k=2, n=3)


@pytest.fixture
def receiver():
    """Return a web server that keeps the messages that it took, and refuses while its mood is bad."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            message = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if server.well:
                server.got.append(message)
            self.send_response(204 if server.well else 503)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.got, server.well = [], True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    server.url = f"http://127.0.0.1:{server.server_port}/hook?secret=1"
    yield server
    server.shutdown()
    server.server_close()


def hook(receiver):
    return Destination("webhook-1", lambda machine: WebhookSink(receiver.url))


def test_a_test_alarm_goes_to_every_place(settings, receiver):
    with served(settings) as (client, service):
        service.send_to([hook(receiver)])
        number = client.post("/api/machines/pump/test-alarm").json()["id"]
        until(lambda: [(it["id"], it["kind"]) for it in receiver.got] == [(number, "test")])


class Home:
    """A client of the broker that sees what is retained, and all that comes."""

    def __init__(self, port):
        import paho.mqtt.client as mqtt

        self.now, self.got = {}, []
        self.client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2)
        self.client.on_connect = lambda client, *_: client.subscribe("#", qos=1)
        self.client.on_message = self._take
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()

    def _take(self, _client, _data, message):
        self.now[message.topic] = message.payload.decode()
        self.got.append(message.topic)

    def state(self, machine="pump"):
        return json.loads(self.now.get(f"plant/{machine}/state", "{}"))

    def close(self):
        self.client.disconnect()
        self.client.loop_stop()


def rendered(template, payload):
    return jinja2.Environment().from_string(template).render(value=payload, value_json=json.loads(payload))


def test_home_assistant_discovers_every_machine_and_sees_how_it_is(settings, tmp_path):
    broker = Broker(require("mosquitto"), tmp_path / "broker")
    url = f"mqtt://127.0.0.1:{broker.port}/plant"
    home = Home(broker.port)
    place = Destination("mqtt-1", lambda machine: MqttSink(url, machine, discovery="homeassistant"), beats=True)
    with served(settings) as (client, service):
        service.send_to([place])
        assert client.post(UPLOAD, content=sound()).json()["event"] is None
        until(lambda: home.state().get("anomaly") == "OFF" and "score" in home.state())
        opened = client.post(UPLOAD, content=sound(seed=5, odd=True)).json()
        until(lambda: home.state().get("anomaly") == "ON")
        configs = {topic: json.loads(text) for topic, text in home.now.items() if topic.endswith("/config")}
        assert len(configs) == 6 and "plant/pump/open" in home.got
        check_discovery(configs, home, opened["verdicts"][-1]["score"])
        available = next(iter(configs.values()))
        heartbeat = lambda: home.now[available["availability_topic"]]  # noqa: E731
        assert rendered(available["availability_template"], heartbeat()) == "online"
    until(lambda: rendered(available["availability_template"], heartbeat()) == "offline")
    home.close()
    broker.stop()


def check_discovery(configs, home, score):
    """Check what was announced by the keys and values that Home Assistant documents, and render its templates."""
    devices, names, shown = set(), set(), {}
    for topic, facts in configs.items():
        kind, node, key = TOPIC.fullmatch(topic).groups()
        assert set(facts) <= KEYS[kind] and set(facts["device"]) <= DEVICE
        assert facts.get("device_class") in (None, *CLASSES[kind]) and facts.get("state_class") in (None, "measurement")
        devices.add((node, json.dumps(facts["device"], sort_keys=True)))
        names.add(facts["unique_id"])
        shown[key] = rendered(facts["value_template"], home.now[facts["state_topic"]])
    assert len(devices) == 1 and len(names) == len(configs)
    assert float(shown["score"]) == score and 0 <= float(shown["p_value"]) <= 1 and float(shown["level_dbfs"]) < 0
    assert shown["state"] == "anomaly" and shown["anomaly"] == "ON"
    assert datetime.fromisoformat(shown["last_event"]).tzinfo is not None


def test_a_place_that_was_away_and_a_service_that_restarts_lose_nothing(settings, receiver):
    with served(settings) as (client, service):
        client.post(UPLOAD, content=sound(seed=1, odd=True))  # before there was a place
        service.send_to([hook(receiver)])
        receiver.well = False
        client.post(UPLOAD, content=sound(seed=3))
        until(lambda: service.couriers[0].trouble)
        told = client.get("/metrics").text
        assert 'echobank_place_failing{place="webhook-1"} 1.0' in told and "secret" not in told
        client.post(UPLOAD, content=sound(seed=4, odd=True))
    receiver.well = True
    with served(settings) as (client, service):
        service.send_to([hook(receiver)])
        until(lambda: receiver.got and service.couriers[0].waiting == 0)
        client.post(UPLOAD, content=sound(seed=6))
        until(lambda: receiver.got[-1]["kind"] == "close")
        time.sleep(1)
        assert 'echobank_undelivered{place="webhook-1"} 0.0' in client.get("/metrics").text
    assert [message["kind"] for message in receiver.got] == ["close", "open", "close"]
    assert len({message["id"] for message in receiver.got}) == 3


def test_a_machine_that_no_topic_can_name_holds_up_nobody(settings, tmp_path):
    broker = Broker(require("mosquitto"), tmp_path / "broker")
    home = Home(broker.port)
    odd = {"file": "a.wav", "score": 5.0, "p_value": 0.01, "decision": 1}
    with served(settings) as (client, service):
        service.send_to(
            [Destination("mqtt-1", lambda machine: MqttSink(f"mqtt://127.0.0.1:{broker.port}/plant", machine))]
        )
        for machine in ("mill %23 +", "saw"):
            body = {"threshold": 2.0, "verdicts": [odd, odd]}
            assert client.post(f"/api/machines/{machine}/verdicts", json=body).json()["opened"]
        until(lambda: "plant/saw/open" in home.now)
    home.close()
    broker.stop()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--webhook", "ftp://x/y"], "not a web address"),
        (["--mqtt", "http://x"], "not an MQTT address"),
        (["--webhook", "http://x/y", "--webhook", "http://x/y"], "a place is named twice"),
        (["--ntfy", "https://ntfy.sh/t", "--ntfy-token-file", "/nowhere"], "the password cannot be read"),
    ],
)
def test_impossible_places_are_one_line(bank, tmp_path, capsys, words, said):
    bind = ["--bind", "127.0.0.1:0"]
    assert main(["serve", str(bank.parent), "--data", str(tmp_path / "data"), *bind, *words]) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1, error
