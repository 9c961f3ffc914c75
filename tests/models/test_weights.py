"""Weights: names, downloads that break in every way, and the way out when there is no network."""

import dataclasses
import hashlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from echobank.cli import main
from echobank.errors import WeightsError
from echobank.models.registry import find_card, front_end_of, load_encoder
from echobank.models.weights.cards import CARDS, Card
from echobank.models.weights.fetch import fetch
from echobank.models.weights.weights_cache import cache_folder
from tests.requirements import needs

CONTENT = bytes(range(256)) * 4096
CARD = Card("test", "beats", "test.pt", len(CONTENT), hashlib.sha256(CONTENT).hexdigest())


class Server(BaseHTTPRequestHandler):
    """Serves one file in the manner that the path names."""

    requests: list[tuple[str, str | None]] = []  # noqa: RUF012

    def do_GET(self):
        manner, wanted = self.path.strip("/"), self.headers.get("Range")
        Server.requests.append((manner, wanted))
        if manner == "gone":
            self.send_error(404)
            return
        start = int(wanted.split("=")[1].rstrip("-")) if wanted else 0
        content = {"wrong": bytes(len(CONTENT)), "long": CONTENT + b"more"}.get(manner, CONTENT)
        body = content[start:]
        self.send_response(206 if start and manner != "norange" else 200)
        if manner == "norange":
            body = CONTENT
        if start and manner != "norange":
            self.send_header("Content-Range", f"bytes {start}-{len(CONTENT) - 1}/{len(CONTENT)}")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if manner == "breaks" else body)

    def log_message(self, *args):
        pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr("echobank.models.weights.fetch._PAUSE_SECONDS", 0)
    monkeypatch.setattr("echobank.models.weights.fetch._CHUNK", 1 << 10)
    Server.requests.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), Server) as found:
        threading.Thread(target=found.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{found.server_port}"
        found.shutdown()


def card_of(server, *manners):
    return dataclasses.replace(CARD, sources=tuple(f"{server}/{manner}" for manner in manners))


def test_a_download_is_checked_kept_and_not_repeated(server, tmp_path):
    path = fetch(card_of(server, "good"), tmp_path)
    assert path.read_bytes() == CONTENT
    assert fetch(card_of(server, "good"), tmp_path) == path
    assert Server.requests == [("good", None)]
    assert [p.name for p in tmp_path.iterdir()] == ["test.pt"]


def test_the_next_source_is_tried(server, tmp_path):
    assert fetch(card_of(server, "gone", "good"), tmp_path).read_bytes() == CONTENT


@pytest.mark.parametrize("then", ["good", "norange"])
def test_a_download_that_broke_goes_on(server, tmp_path, then):
    with pytest.raises(WeightsError, match="test"):
        fetch(card_of(server, "breaks"), tmp_path)
    assert not (tmp_path / "test.pt").exists()
    assert fetch(card_of(server, then), tmp_path).read_bytes() == CONTENT
    left = len(CONTENT) // 8  # three attempts brought half of the rest each
    assert Server.requests[-1] == (then, f"bytes={len(CONTENT) - left}-")


@pytest.mark.parametrize(("manner", "words"), [("wrong", "wrong SHA-256"), ("long", "more than")])
def test_another_file_is_never_kept(server, tmp_path, manner, words):
    with pytest.raises(WeightsError, match=words):
        fetch(card_of(server, manner), tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("damage", [b"", CONTENT[:-1], bytes(len(CONTENT))])
def test_a_damaged_cached_file_is_refused(tmp_path, damage):
    (tmp_path / "test.pt").write_bytes(damage)
    with pytest.raises(WeightsError, match="delete it to fetch it again"):
        fetch(CARD, tmp_path)


def test_without_a_network_the_ways_out_are_named(tmp_path):
    with pytest.raises(WeightsError) as error:
        fetch(card_of("http://127.0.0.1:9", "x"), tmp_path)
    line = str(error.value)
    for words in (
        "no connection",
        "run again with a connection to the internet",
        "--weights PATH",
        str(tmp_path / "test.pt"),
    ):
        assert words in line
    assert "\n" not in line


def test_all_fifteen_official_files_have_cards():
    official = [card for card in CARDS.values() if card.kind == "beats"]
    assert len(official) == 15 == len({card.sha256 for card in official}) == len({card.file for card in official})
    for card in official:
        assert len(card.sha256) == 64 and card.sources and card.licence and card.citation
        assert card.bytes == (363_145_291 if "finetuned" in card.file else 361_499_833)


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("beats_base", "BEATs_iter3_plus_AS2M.pt"),
        ("BEATS_BASE", "BEATs_iter3_plus_AS2M.pt"),
        ("beats_iter3", "BEATs_iter3.pt"),
        ("BEATs_iter3_plus_AS20K.pt", "BEATs_iter3_plus_AS20K.pt"),
        ("BEATs_iter1_finetuned_on_AS2M_cpt2", "BEATs_iter1_finetuned_on_AS2M_cpt2.pt"),
    ],
)
def test_names_as_the_field_writes_them(name, file):
    assert find_card(name).file == file
    assert front_end_of(name)[0] == 16000


def test_an_unknown_name_names_the_nearest():
    with pytest.raises(WeightsError, match=r"did you mean beats_base\?"):
        load_encoder("beats_bose")


@needs("torch")
def test_weights_of_the_users_own_are_loaded_in_place_of_the_download(tmp_path):
    with pytest.raises(WeightsError, match=r"mine\.pt"):
        load_encoder("beats_base", weights=tmp_path / "mine.pt")


def test_the_cache_is_the_argument_then_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("ECHOBANK_CACHE", str(tmp_path / "a"))
    assert cache_folder() == tmp_path / "a"
    assert cache_folder(tmp_path / "b") == tmp_path / "b"


def test_the_command_lists_every_card(tmp_path, capsys):
    assert main(["weights", "--cache", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert all(name in out for name in CARDS) and str(tmp_path) in out
    assert main(["weights", "logmel_stats"]) == 0
