"""MQTT as plants and homes run it: Mosquitto with TLS and password, discovery, last will, commands."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest

from echobank.cli import main
from echobank.errors import ConfigError
from echobank.machines.verdict import Verdict
from echobank.watch.events import Heartbeat, Opened, Scored
from echobank.watch.sinks.home_assistant import discovery
from echobank.watch.sinks.mqtt import MqttAccess, MqttSink
from echobank.watch.sinks.sink import SinkError
from tests.machines.sounds import hum, with_tone, write
from tests.requirements import require
from tests.watch.deliveries import until
from tests.watch.test_mqtt import Broker

SUBJECT = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]


def certificates(folder):
    """Make an authority and two certificates that it signed: of the broker and of a client."""
    openssl = shutil.which("openssl") or pytest.skip("no openssl: apt-get install openssl")
    run = lambda *words: subprocess.run([openssl, *words], check=True, capture_output=True, cwd=folder)  # noqa: E731
    new = ["req", "-newkey", "rsa:2048", "-nodes"]
    run(*new, "-x509", "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=test", "-days", "2")
    for name in ("broker", "client"):
        run(*new, "-keyout", f"{name}.key", "-out", f"{name}.csr", *SUBJECT)
        sign = ["-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2", "-copy_extensions", "copy"]
        run("x509", "-req", "-in", f"{name}.csr", "-out", f"{name}.pem", *sign)
    return folder


class Plant(Broker):
    """Mosquitto with TLS and a password, or with client certificates."""

    def __init__(self, program, folder, *, certified=False):
        self._certified = certified
        super().__init__(program, folder)

    def start(self):
        folder = self._config.parent
        if not (folder / "ca.pem").exists():
            certificates(folder)
            passwd = shutil.which("mosquitto_passwd", path="/usr/bin:/usr/sbin")
            subprocess.run([passwd, "-b", "-c", folder / "passwords", "pump", "s3cret"], check=True)
            for path in folder.iterdir():
                path.chmod(0o644)
            entry = "require_certificate true\nuse_identity_as_username true\n" if self._certified else ""
            self._config.write_text(
                f"per_listener_settings true\nlistener {self.port} 127.0.0.1\nallow_anonymous false\n"
                f"password_file {folder}/passwords\ncafile {folder}/ca.pem\ncertfile {folder}/broker.pem\n"
                f"keyfile {folder}/broker.key\nuser root\n{entry}"
            )
        self.folder = folder
        super().start()


class Home:
    """A client of the broker that collects everything, and what was retained."""

    def __init__(self, plant):
        import paho.mqtt.client as mqtt

        self.got, self.retained = [], {}
        self.client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2)
        self.client.username_pw_set("pump", "s3cret")
        self.client.tls_set(str(plant.folder / "ca.pem"))
        self.client.on_connect = lambda client, *_: client.subscribe("#", qos=1)
        self.client.on_message = self._take
        self.client.connect("127.0.0.1", plant.port)
        self.client.loop_start()
        until(self.client.is_connected)

    def _take(self, _client, _data, message):
        text = message.payload.decode()
        values = json.loads(text) if text.startswith("{") else text
        self.got.append((message.topic, values))
        if message.retain:
            self.retained[message.topic] = values

    def topic(self, topic):
        return [values for name, values in self.got if name == topic]

    def close(self):
        self.client.disconnect()
        self.client.loop_stop()


@pytest.fixture
def plant(tmp_path):
    program = require("mosquitto")
    it = Plant(program, tmp_path / "plant")
    yield it
    it.stop()


def access(plant, **more):
    return MqttAccess(**{"user": "pump", "password": "s3cret", "ca": str(plant.folder / "ca.pem"), **more})


BEAT = Heartbeat(id="1", machine="pump", time="now", files=3)


def test_a_password_and_a_certificate_are_asked_for(plant):
    url = f"mqtts://127.0.0.1:{plant.port}/plant"
    sink = MqttSink(url, "pump", access=access(plant))
    sink.send([BEAT])
    sink.close()
    for wrong in (access(plant, password="wrong"), access(plant, ca=""), access(plant, ca="/no/such/file")):
        with pytest.raises(SinkError) as refused:
            MqttSink(url, "pump", access=wrong, timeout=2.0).send([BEAT])
        assert "s3cret" not in str(refused.value) + repr(wrong)
    with pytest.raises(ConfigError, match="encrypted"):
        MqttSink(f"mqtt://127.0.0.1:{plant.port}/plant", "pump", access=access(plant))


def test_a_client_certificate_opens_the_door(tmp_path):
    plant = Plant(require("mosquitto"), tmp_path / "plant", certified=True)
    try:
        url, ca = f"mqtts://127.0.0.1:{plant.port}/plant", str(plant.folder / "ca.pem")
        own = {"certificate": str(plant.folder / "client.pem"), "key": str(plant.folder / "client.key")}
        sink = MqttSink(url, "pump", access=MqttAccess(ca=ca, **own))
        sink.send([BEAT])
        sink.close()
        with pytest.raises(SinkError):
            MqttSink(url, "pump", access=MqttAccess(ca=ca), timeout=2.0).send([BEAT])
    finally:
        plant.stop()


def test_home_assistant_finds_a_machine_and_sees_its_state_and_finds_it_again_when_it_starts(plant):
    sink = MqttSink(f"mqtts://127.0.0.1:{plant.port}/plant", "pump 7", access=access(plant), discovery="homeassistant")
    window = {"machine": "pump 7", "time": "2026-11-26T01:00:00.000+00:00", "file_time": ""}
    odd = Verdict("a.wav", 0.0, 2.0, 0.5, 0.01, 100.0, 1, level_dbfs=-30.0)
    sink.send([Scored(id="2", verdict=odd, **window), Opened(id="3", verdict=odd, threshold=0.1, event="3", **window)])
    home = Home(plant)
    configs = dict(discovery("homeassistant", "plant/pump 7", "pump 7"))
    until(lambda: set(configs) <= set(home.retained) and "plant/pump 7/state" in home.retained)
    assert {topic: home.retained[topic] for topic in configs} == configs
    assert len(configs) == 6 and len({facts["device"]["identifiers"][0] for facts in configs.values()}) == 1
    assert all("#" not in topic and " " not in topic for topic in configs)
    state = home.retained["plant/pump 7/state"]
    known = {"state": "anomaly", "anomaly": "ON", "score": 0.5, "p_value": 0.01, "level_dbfs": -30.0}
    assert state == {**known, "last_event": window["time"]}
    assert "score" not in [topic.rsplit("/")[-1] for topic, _ in home.got]  # only where every window is asked for
    before = len(home.topic(next(iter(configs))))
    home.client.publish("homeassistant/status", "online", qos=1)
    until(lambda: len(home.topic(next(iter(configs)))) > before)
    home.close()
    sink.close()


def test_pause_and_resume_by_command_and_a_last_will_when_killed(plant, fitted, tmp_path):
    home = Home(plant)
    (tmp_path / "landing").mkdir()
    (tmp_path / "password").write_text("s3cret\n")
    words = ["watch", str(fitted / "banks" / "pump"), str(tmp_path / "landing"), "--state", str(tmp_path / "state")]
    words += ["--mqtt", f"mqtts://127.0.0.1:{plant.port}/plant", "--mqtt-user", "pump", "--heartbeat", "200ms"]
    words += ["--mqtt-password-file", str(tmp_path / "password"), "--mqtt-ca", str(plant.folder / "ca.pem")]
    words += ["--mqtt-discovery", "--settle", "10ms", "--poll", "50ms", "--k-of-n", "2/3"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    child = subprocess.Popen([sys.executable, "-m", "echobank", *words], env=environment, stdout=subprocess.DEVNULL)
    try:
        beats = lambda: home.topic("plant/pump/heartbeat")  # noqa: E731
        until(lambda: beats() and not beats()[-1]["paused"], 60)
        home.client.publish("plant/pump/command", "pause", qos=1)
        until(lambda: beats()[-1]["paused"] == "paused", 30)
        write(tmp_path / "landing" / "a.wav", with_tone(hum(4.0, seed=200), 0.0, 4.0))
        until(lambda: beats()[-1]["files"] == 1, 30)
        assert not home.topic("plant/pump/open")
        home.client.publish("plant/pump/command", "resume", qos=1)
        until(lambda: not beats()[-1]["paused"], 30)
        write(tmp_path / "landing" / "b.wav", with_tone(hum(4.0, seed=201), 0.0, 4.0))
        until(lambda: home.topic("plant/pump/open"), 30)
        until(lambda: home.topic("plant/pump/state")[-1]["anomaly"] == "ON", 30)
        child.send_signal(signal.SIGKILL)
        until(lambda: beats()[-1] == {"kind": "gone", "machine": "pump"}, 30)
    finally:
        child.kill()
        child.wait()
        home.close()


def test_a_test_alarm_says_what_answered(plant, fitted, tmp_path, capsys, monkeypatch):
    home = Home(plant)
    monkeypatch.setenv("ECHOBANK_MQTT_PASSWORD", "s3cret")
    words = ["watch", str(fitted / "banks" / "pump"), str(tmp_path), "--test-alarm", "--quiet", "--mqtt-user", "pump"]
    words += ["--mqtt-ca", str(plant.folder / "ca.pem"), "--mqtt", f"mqtts://127.0.0.1:{plant.port}/plant"]
    assert main(words) == 0
    assert ": taken" in capsys.readouterr().err
    until(lambda: home.topic("plant/pump/test"))
    assert main([*words, "--webhook", "http://127.0.0.1:9/x"]) == 2
    said = capsys.readouterr().err
    assert ": taken" in said and "did not answer" in said
    home.close()
    time.sleep(0.1)
