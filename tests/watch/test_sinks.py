"""Sinks against an HTTP server that fails, stalls and recovers, and against a full disk."""

import json
import random
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from echobank.errors import ConfigError, OutputError
from echobank.journal import Journal
from echobank.watch.events import Heartbeat
from echobank.watch.outbox import Delivery, RemoteDelivery, make_delivery
from echobank.watch.sinks.csv_file import CsvSink
from echobank.watch.sinks.mqtt import MqttSink
from echobank.watch.sinks.sink import SinkError
from echobank.watch.sinks.webhook import WebhookSink
from tests.machines.sounds import full_disk
from tests.watch.deliveries import Clock, drain, line, opened, outbox, until


class Receiver:
    """A web server that keeps what it acknowledged, by id, and misbehaves as told."""

    def __init__(self):
        receiver = self
        self.mood, self.posts, self.kept = "well", 0, {}

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                receiver.posts += 1
                message = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                mood = receiver.mood() if callable(receiver.mood) else receiver.mood
                if mood == "stall":
                    time.sleep(0.5)
                if mood in ("well", "stall", "cut"):  # taken, though the sender may not come to know
                    assert self.headers["Idempotency-Key"] == message["id"]
                    receiver.kept.setdefault(message["id"], message)
                if mood == "cut":
                    self.connection.close()
                    return
                self.send_response({"fail": 503, "refuse": 404, "redirect": 302}.get(mood, 204))
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def receiver():
    it = Receiver()
    yield it
    it.server.shutdown()
    it.server.server_close()


def test_a_webhook_that_fails_stalls_cuts_and_recovers_gets_everything_once_and_in_order(receiver, tmp_path):
    journal = outbox(tmp_path, 40)
    moods = random.Random(0)
    receiver.mood = lambda: moods.choice(["well", "well", "well", "fail", "stall", "refuse", "cut", "redirect"])
    delivery = drain(lambda: WebhookSink(receiver.url, timeout=0.2), tmp_path, journal)
    assert delivery.done
    assert [int(message["file"]) for message in receiver.kept.values()] == list(range(40))
    assert receiver.posts > 40


def test_a_failing_webhook_is_left_in_peace_for_longer_and_longer(receiver, tmp_path):
    journal, clock = outbox(tmp_path, 1), Clock()
    receiver.mood = "fail"
    delivery = Delivery(WebhookSink(receiver.url), tmp_path, clock)
    for second in range(200):
        clock.now = float(second)
        delivery.pump(journal, "g")
    assert 6 <= receiver.posts <= 9
    assert "refused a message: 503" in delivery.trouble
    receiver.mood = "well"
    clock.now = 300.0
    delivery.pump(journal, "g")
    assert delivery.done and delivery.trouble == "" and len(receiver.kept) == 1


def test_nobody_there_is_a_trouble_and_no_error(tmp_path):
    delivery = Delivery(WebhookSink("http://127.0.0.1:9/x"), tmp_path)
    delivery.pump(outbox(tmp_path, 1), "g")
    assert not delivery.done and "did not answer" in delivery.trouble


@pytest.mark.parametrize("wrong", ["ftp://x", "host", "http://"])
def test_addresses_are_checked(wrong):
    with pytest.raises(ConfigError):
        WebhookSink(wrong)
    with pytest.raises(ConfigError):
        MqttSink(wrong, "m")


def test_a_slow_webhook_does_not_keep_the_watch_from_listening(receiver, tmp_path):
    journal, clock = outbox(tmp_path, 10), Clock()
    receiver.mood = lambda: setattr(clock, "now", clock.now + 1.5) or "well"
    delivery = Delivery(WebhookSink(receiver.url), tmp_path, clock)
    for done in (2, 4, 6, 8, 10):
        delivery.pump(journal, "g")
        assert receiver.posts == done
    delivery.pump(journal, "g")
    assert delivery.done and receiver.posts == 10


def test_a_webhook_that_stalls_holds_up_nobody(receiver, tmp_path):
    journal = outbox(tmp_path, 3)
    receiver.mood = "stall"
    delivery = make_delivery(WebhookSink(receiver.url), tmp_path)
    begun = time.monotonic()
    for _ in range(5):
        delivery.pump(journal, "g")
        delivery.heartbeat(Heartbeat(id="alive", machine="m", time="now", files=3))
        assert not delivery.done
    assert time.monotonic() - begun < 0.4
    with Journal(journal) as more:
        more.append(line(3))
    until(lambda: delivery.done or delivery.pump(journal, "g"))
    assert [int(m["file"]) for m in receiver.kept.values() if m["kind"] == "open"] == list(range(4))
    until(lambda: "alive" in receiver.kept)
    delivery.close()


def test_done_is_never_said_while_something_was_written_after_the_last_look(receiver, tmp_path):
    journal = outbox(tmp_path, 1)
    delivery = RemoteDelivery(WebhookSink(receiver.url), tmp_path)
    for n in range(1, 200):
        delivery.pump(journal, "g")
        with Journal(journal) as more:
            more.append(line(n))
        if delivery.done:
            assert f"id-{n}" in receiver.kept
    until(lambda: delivery.done or delivery.pump(journal, "g"))
    assert len(receiver.kept) == 200 == receiver.posts
    delivery.close()


def test_a_cursor_that_cannot_be_kept_is_told(receiver, tmp_path, monkeypatch):
    journal = outbox(tmp_path, 1)
    delivery = RemoteDelivery(WebhookSink(receiver.url), tmp_path)

    def refused(*_):
        raise OutputError("no room")

    with monkeypatch.context() as patch:
        patch.setattr("echobank.watch.outbox.write_json", refused)
        delivery.pump(journal, "g")
        until(lambda: receiver.posts)
        with pytest.raises(OutputError, match="no room"):
            until(lambda: delivery.pump(journal, "g"))
    until(lambda: delivery.done or delivery.pump(journal, "g"))
    delivery.close()


def test_a_secret_in_an_address_is_told_to_nobody(receiver, tmp_path):
    receiver.mood = "refuse"
    for url in (f"{receiver.url}/s3cret?sig=s3cret", "http://user:s3cret@127.0.0.1:9/s3cret"):
        sink = WebhookSink(url)
        delivery = Delivery(sink, tmp_path)
        delivery.pump(outbox(tmp_path, 1), "g")
        assert "127.0.0.1" in delivery.trouble
        assert "s3cret" not in delivery.trouble + sink.name


def test_different_addresses_are_different_sinks(tmp_path):
    (tmp_path / "a").mkdir()
    sinks = [
        *(WebhookSink(f"http://host/hook?key={key}") for key in "ab"),
        *(MqttSink(f"mqtt://host/{topic}", "m") for topic in "ab"),
        *(CsvSink(folder / "rows.csv") for folder in (tmp_path, tmp_path / "a")),
    ]
    assert len({sink.name for sink in sinks}) == len(sinks)
    assert MqttSink("mqtt://user:old@host/a", "m").name == MqttSink("mqtt://user:new@host/a", "m").name


def test_a_full_disk_leaves_whole_rows(tmp_path):
    sink = CsvSink(tmp_path / "rows.csv")
    sink.send([opened(1)])
    whole = sink.path.read_bytes()
    with full_disk(len(whole) + 10), pytest.raises(SinkError, match="cannot write"):
        sink.send([opened(i) for i in range(9)])
    assert sink.path.read_bytes() == whole
    sink.send([opened(2)])
    assert sink.path.read_text().count("\n") == 3


def test_a_table_that_somebody_edited_is_not_cut(tmp_path):
    sink = CsvSink(tmp_path / "rows.csv")
    sink.send([opened(1)])
    mark = sink.mark()
    sink.send([opened(2)])
    sink.rewind(mark)
    assert sink.mark() == mark
    sink.path.write_text("a note of mine\n" + sink.path.read_text())
    edited = sink.path.read_bytes()
    sink.rewind(mark)
    assert sink.path.read_bytes() == edited
