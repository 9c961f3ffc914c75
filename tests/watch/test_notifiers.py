"""ntfy and mail: what real servers on loopback get."""

import json
import socketserver
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from echobank.errors import ConfigError
from echobank.machines.verdict import Verdict
from echobank.watch.events import Closed, Opened, SilenceClosed, SilenceOpened, TrialAlarm
from echobank.watch.sinks.mail import MailSink
from echobank.watch.sinks.ntfy import NtfySink
from echobank.watch.sinks.sink import SinkError
from echobank.watch.sinks.webhook import WebhookSink

ODD = Verdict("a.wav", 4.0, 2.0, 0.5, 0.01, 100.0, 1)
WINDOW = {"machine": "Pumpe süd", "time": "now", "file_time": "", "verdict": ODD}
MESSAGES = [
    Opened(id="1", threshold=0.1, event="1", clip="1", **WINDOW),
    Closed(id="2", event="1", opened="then", peak=0.7, windows=9, **WINDOW),
    SilenceOpened(id="3", machine="p", time="now", event="3", seconds=300.0, where="from mic"),
    SilenceClosed(id="4", machine="p", time="now", event="3", opened="then", where="from mic"),
    TrialAlarm(id="5", machine="p", time="now"),
]


@pytest.fixture
def ntfy():
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            server.got.append((self.path, self.headers["Authorization"], body))
            self.send_response(server.answer)
            self.send_header("Location", f"http://127.0.0.1:{server.server_port}/elsewhere")
            self.end_headers()

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.got, server.answer = [], 200
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def test_ntfy_says_what_happened_in_words(ntfy):
    sink = NtfySink(f"http://127.0.0.1:{ntfy.server_port}/machines", "tk_1")
    sink.send(MESSAGES)
    sink.close()
    bodies = [body for _, _, body in ntfy.got]
    assert {(path, token, body["topic"]) for path, token, body in ntfy.got} == {("/", "Bearer tk_1", "machines")}
    assert bodies[0]["title"] == "Pumpe süd sounds anomalous" and "Clip: 1" in bodies[0]["message"]
    assert [body["priority"] for body in bodies] == [4, 3, 4, 3, 3]
    assert "healthy again" in bodies[1]["title"] and "no sound" in bodies[2]["title"]
    ntfy.answer = 403
    with pytest.raises(SinkError, match="refused a message: 403"):
        sink.send(MESSAGES[:1])
    with pytest.raises(SinkError, match="did not answer"):
        NtfySink("http://127.0.0.1:9/machines").send(MESSAGES[:1])


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_refused_and_followed_by_nobody(ntfy, status):
    ntfy.answer = status
    where = f"http://127.0.0.1:{ntfy.server_port}/machines"
    for sink in (NtfySink(where, "tk_1"), WebhookSink(where)):
        with pytest.raises(SinkError, match=f"refused a message: {status}"):
            sink.send(MESSAGES[:1])
        sink.close()
    assert [path for path, _, _ in ntfy.got] == ["/", "/machines"]


class Smtp(socketserver.StreamRequestHandler):
    """A mail server: enough of RFC 5321, with AUTH PLAIN and LOGIN."""

    def handle(self):
        self.say("220 here")
        while line := self.rfile.readline().decode().strip():
            word = line.split()[0].upper()
            if word == "EHLO":
                self.say("250-here\r\n250 AUTH PLAIN LOGIN")
            elif word == "AUTH":
                self.server.logins.append(line)
                self.say("235 well" if self.server.friendly else "535 no")
            elif word == "DATA":
                self.say("354 go on")
                text = b""
                while not text.endswith(b"\r\n.\r\n"):
                    text += self.rfile.readline()
                self.server.mails.append(text.decode())
                self.say("250 taken")
            elif word == "QUIT":
                self.say("221 bye")
                return
            else:
                self.server.lines.append(line)
                self.say("250 well")

    def say(self, line):
        self.wfile.write(f"{line}\r\n".encode())


@pytest.fixture
def post():
    server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Smtp)
    server.mails, server.lines, server.logins, server.friendly = [], [], [], True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def test_mail_says_what_happened_in_words(post):
    port = post.server_address[1]
    sink = MailSink(f"smtp://shift@127.0.0.1:{port}/?to=a@example.org,b@example.org&from=pump@example.org", "s3cret")
    sink.send(MESSAGES)
    assert len(post.mails) == 5 and len(post.logins) == 5 - 4
    assert "Message-ID: <1@echobank>" in post.mails[0] and "Importance: high" in post.mails[0]
    assert "Subject: p: no sound" in post.mails[2] and "Importance" not in post.mails[3]
    assert {line.upper() for line in post.lines if "RCPT" in line.upper()} == {
        "RCPT TO:<A@EXAMPLE.ORG>",
        "RCPT TO:<B@EXAMPLE.ORG>",
    }
    assert any("pump@example.org" in line.lower() for line in post.lines)
    post.friendly = False
    with pytest.raises(SinkError, match="did not take") as refused:
        sink.send(MESSAGES[:1])
    assert "s3cret" not in str(refused.value) + sink.name
    with pytest.raises(SinkError, match="did not take"):
        MailSink("smtp://127.0.0.1:9/?to=a@example.org").send(MESSAGES[:1])


@pytest.mark.parametrize("wrong", ["smtp://host", "http://host/?to=a@b", "smtp://host/?to=nobody", "smtp://"])
def test_mail_addresses_are_checked(wrong):
    with pytest.raises(ConfigError):
        MailSink(wrong)


@pytest.mark.parametrize("wrong", ["https://ntfy.sh", "https://ntfy.sh/a?b=c", "ntfy.sh/a", "mqtt://x/y"])
def test_ntfy_addresses_are_checked(wrong):
    with pytest.raises(ConfigError):
        NtfySink(wrong)
