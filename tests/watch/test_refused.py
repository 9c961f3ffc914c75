"""What the system refuses is a trouble that ends by itself; an impossible address or broker is reported at once."""

import pytest

from echobank.cli import main
from echobank.errors import ConfigError
from echobank.watch.events import Heartbeat
from echobank.watch.sinks.mqtt import MqttSink
from echobank.watch.sinks.sink import SinkError
from echobank.watch.sinks.webhook import WebhookSink
from tests.machines.sounds import hum, write
from tests.permissions import permissions_hold
from tests.requirements import needs, require
from tests.watch.test_mqtt import Broker
from tests.watch.watching import names, settle

pytestmark = needs("posix")  # permissions


@pytest.mark.parametrize("which", ["landing", "landing/deep"])
@pytest.mark.parametrize("mode", [0o000, 0o444])
def test_a_folder_that_may_not_be_listed_is_a_trouble(place, tmp_path, which, mode):
    start, clock, receiver, folder = place
    write(folder / "deep" / "a.wav", hum(2.0))
    watch = start()
    shut = tmp_path / which
    shut.chmod(mode)
    try:
        with permissions_hold():
            assert settle(watch, clock) == 0
            assert any("Permission denied" in trouble and "trying again" in trouble for trouble in watch.troubles)
    finally:
        shut.chmod(0o755)
    assert settle(watch, clock) == 1 and watch.troubles == ()
    assert names(receiver) == ["deep/a.wav"]


def test_a_recording_that_may_not_be_read_is_told_once_and_heard_when_it_may(place):
    start, clock, receiver, folder = place
    path = write(folder / "a.wav", hum(2.0))
    write(folder / "b.wav", hum(2.0, seed=1))
    watch = start()
    path.chmod(0)
    with permissions_hold():
        for turn in range(4):
            settle(watch, clock)
            assert any("a.wav: cannot be read (Permission denied)" in trouble for trouble in watch.troubles)
            assert watch.idle
            if turn == 2:
                watch = start()  # a restart tells it no second time
    path.chmod(0o644)
    clock.now += 120
    assert settle(watch, clock) == 1 and watch.troubles == ()
    assert names(receiver, "error") == ["a.wav"] and sorted(names(receiver)) == ["a.wav", "b.wav"]
    assert settle(start(), clock) == 0


def test_an_error_of_the_content_is_final(place):
    start, clock, receiver, folder = place
    (folder / "a.wav").write_text("no sound")
    watch = start()
    for _ in range(3):
        settle(watch, clock)
    assert names(receiver, "error") == ["a.wav"] and watch.troubles == ()


def test_what_is_left_out_of_the_folder_is_said(fitted, tmp_path, capsys):
    write(tmp_path / "in" / "a.wav", hum(2.0))
    (tmp_path / "in" / "phone.m4a").write_bytes(b"x")
    words = ["watch", str(fitted / "banks" / "pump"), str(tmp_path / "in"), "--state", str(tmp_path / "s")]
    assert main([*words, "--once", "--settle", "1ms", "--poll", "5ms"]) == 0
    assert capsys.readouterr().err.count("left out: 1 .m4a (convert with ffmpeg") == 1


def test_a_bank_that_cannot_be_written_beside_suggests_another_state(bank, tmp_path, capsys):
    write(tmp_path / "in" / "a.wav", hum(2.0))
    bank.chmod(0o555)
    try:
        with permissions_hold():
            assert main(["watch", str(bank), str(tmp_path / "in"), "--once"]) == 2
    finally:
        bank.chmod(0o755)
    assert "--state DIR" in capsys.readouterr().err


ADDRESSES = [
    ("mqtt://host:99999/plant", "pump", "not an MQTT address"),
    ("mqtt://host:abc/plant", "pump", "not an MQTT address"),
    ("mqtt://host:0/plant", "pump", "port 0"),
    ("mqtt:///plant", "pump", "not an MQTT address"),
    ("http://host/plant", "pump", "not an MQTT address"),
    ("mqtt://ho st/plant", "pump", "a space"),
    ("mqtt://" + "h" * 64 + "/plant", "pump", "no such name of a host"),
    ("mqtt://host/plant?qos=1", "pump", "has no [?] and no #"),
    ("mqtt://host/hall#7", "pump", "has no [?] and no #"),
    ("mqtt://:secret@host/plant", "pump", "a password and no user"),
    ("mqtt://host/hall+1", "pump", "the name of the topic cannot stand"),
    ("mqtt://host/$SYS", "pump", "the name of the topic cannot stand"),
    ("mqtt://host/plant", "pump#7", "the name of the machine cannot stand"),
    ("mqtt://host/plant", "line 1+2", "fit the machine under another name"),
    ("mqtt://host/plant", "a\nb", "the name of the machine cannot stand"),
]


@pytest.mark.parametrize(("url", "machine", "says"), ADDRESSES)
def test_what_mqtt_cannot_deliver_to_is_refused_at_the_start(url, machine, says):
    with pytest.raises(ConfigError, match=says) as caught:
        MqttSink(url, machine)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["http://host:99999/x", "https://host:-1/x", "http://host:x/", "http://ho st/", "ftp://h"]
)
def test_what_is_no_web_address_is_refused_at_the_start(url):
    with pytest.raises(ConfigError, match="not a web address"):
        WebhookSink(url)


def test_such_an_address_ends_the_watch_with_one_line(fitted, tmp_path, capsys):
    write(tmp_path / "in" / "a.wav", hum(2.0))
    words = ["watch", str(fitted / "banks" / "pump"), str(tmp_path / "in"), "--state", str(tmp_path / "s"), "--once"]
    for option, url in (("--webhook", "http://u:secret@host:99999/x"), ("--mqtt", "mqtt://host/hall#7")):
        assert main([*words, option, url]) == 2
        err = capsys.readouterr().err
        assert err.count("\n") == 1 and "secret" not in err


def test_a_broker_that_refuses_is_told_with_its_reason(tmp_path):
    broker = Broker(require("mosquitto"), tmp_path / "broker")
    broker.stop()
    passwords = tmp_path / "broker" / "passwords"
    passwords.write_text("")  # nobody may come in
    text = broker._config.read_text().replace("allow_anonymous true", f"password_file {passwords}")
    broker._config.write_text(text)
    broker.start()
    try:
        sink = MqttSink(f"mqtt://pump:wrong@127.0.0.1:{broker.port}/plant", "pump", timeout=5.0)
        with pytest.raises(SinkError, match=r"refused the connection \((Not authorized|Bad user name or password)\)"):
            sink.send([Heartbeat(id="1", machine="pump", time="", files=0)])
        sink.close()
    finally:
        broker.stop()
