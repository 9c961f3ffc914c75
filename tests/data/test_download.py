import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from echobank.cli import main
from echobank.data import download as module
from echobank.data.dcase import scan
from echobank.data.download import RECORDS, download
from echobank.errors import DownloadError, InputError
from tests.data.archives import CLIP, archive


class Zenodo(ThreadingHTTPServer):
    """A record server whose faults are switched on by name."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[int, dict[str, bytes]] = {}
        self.wrong_md5: set[str] = set()
        self.cut_after: dict[str, list[int]] = {}
        self.ignore_range = False
        self.shift = 0
        self.failures: list[int] = []
        self.log: list[tuple[str, str]] = []

    @property
    def api(self):
        return f"http://127.0.0.1:{self.server_port}/api/records"

    def record(self, number):
        return {
            "files": [
                {
                    "key": name,
                    "size": len(data),
                    "checksum": "md5:" + ("0" * 32 if name in self.wrong_md5 else hashlib.md5(data).hexdigest()),
                }
                for name, data in self.files[number].items()
            ]
        }


class Handler(BaseHTTPRequestHandler):
    server: Zenodo

    def do_GET(self):
        self.server.log.append((self.path, self.headers.get("Range", "")))
        parts = self.path.split("/")[3:]
        number = int(parts[0])
        if self.server.failures:
            self.send_error(self.server.failures.pop(0))
        elif number not in self.server.files:
            self.send_error(404)
        elif len(parts) == 1:
            self.answer(200, json.dumps(self.server.record(number)).encode())
        else:
            self.send_file(parts[2], self.server.files[number][parts[2]])

    def send_file(self, name, data):
        begin = 0
        if self.headers.get("Range") and not self.server.ignore_range:
            begin = int(self.headers["Range"].removeprefix("bytes=").removesuffix("-"))
        if begin:
            begin += self.server.shift
            span = f"bytes {begin}-{len(data) - 1}/{len(data)}"
            self.answer(206, data[begin:], name, {"Content-Range": span})
        else:
            self.answer(200, data, name)

    def answer(self, code, body, name="", headers=None):
        self.send_response(code)
        for key, value in (headers or {}).items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        cuts = self.server.cut_after.get(name)
        self.wfile.write(body[: cuts.pop(0)] if cuts else body)

    def log_message(self, *args):
        pass


@pytest.fixture
def zenodo(monkeypatch):
    monkeypatch.setattr(module, "_PAUSE_SECONDS", 0.0)
    monkeypatch.setattr(module, "_CHUNK", 1000)
    server = Zenodo()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def fan(zenodo):
    zenodo.files[RECORDS[2025][0]] = {"dev_fan.zip": archive(f"fan/{CLIP}", "fan/attributes_00.csv")}
    return zenodo


def requested(server, name):
    return [span for path, span in server.log if name in path]


@pytest.mark.parametrize("year", sorted(RECORDS))
def test_every_edition_lands_in_the_official_tree(zenodo, tmp_path, year):
    prefix = "dev_data" if year < 2022 else "dev"
    dev, train, test = RECORDS[year]
    zenodo.files[dev] = {f"{prefix}_{m}.zip": archive(f"{m}/{CLIP}") for m in ("ToyCar", "fan")} | {"readme.txt": b"x"}
    zenodo.files[train] = {"eval_data_3DPrinter_train.zip": archive(f"3DPrinter/{CLIP}")}
    zenodo.files[test] = {"eval_data_3DPrinter_test.zip": archive("3DPrinter/test/section_00_0000.wav")}
    folders = download(f"dcase{year}", "dev", tmp_path, api=zenodo.api)
    assert folders == [tmp_path / "dev_data" / "raw" / m for m in ("ToyCar", "fan")]
    assert download(year, "eval", tmp_path, api=zenodo.api) == [tmp_path / "eval_data" / "raw" / "3DPrinter"]
    dataset = scan(tmp_path)
    assert dataset.machines == ("3DPrinter", "ToyCar", "fan") and not dataset.problems
    assert len(dataset.recordings) == 4
    assert not list(tmp_path.rglob("*.part"))


def test_the_newest_revision_of_an_archive_is_taken(zenodo, tmp_path):
    old, new = archive(f"ToyCar/{CLIP}"), archive(f"ToyCar/{CLIP}", "ToyCar/test/section_00_0000.wav")
    zenodo.files[RECORDS[2026][0]] = {"dev_ToyCar_r2.zip": new, "dev_ToyCar.zip": old}
    download(2026, "dev", tmp_path, api=zenodo.api)
    assert len(scan(tmp_path).recordings) == 2
    assert not requested(zenodo, "dev_ToyCar.zip")


def test_what_is_there_is_not_fetched_again(fan, tmp_path):
    download(2025, "dev", tmp_path, api=fan.api)
    download(2025, "dev", tmp_path, api=fan.api)
    assert len(requested(fan, "dev_fan.zip")) == 1
    fan.files[RECORDS[2025][0]]["dev_fan.zip"] = archive(f"fan/{CLIP}", "fan/test/section_00_0000.wav")
    download(2025, "dev", tmp_path, api=fan.api)
    assert len(scan(tmp_path).recordings) == 2


def test_a_broken_connection_is_resumed_where_it_broke(fan, tmp_path):
    fan.cut_after["dev_fan.zip"] = [5000, 3000]
    download(2025, "dev", tmp_path, api=fan.api)
    assert requested(fan, "dev_fan.zip") == ["", "bytes=5000-", "bytes=8000-"]
    assert len(scan(tmp_path).recordings) == 1


def test_another_part_than_was_asked_for_is_not_taken(fan, tmp_path):
    fan.shift = 7
    fan.cut_after["dev_fan.zip"] = [5000]
    with pytest.raises(DownloadError, match="another part"):
        download(2025, "dev", tmp_path, api=fan.api)
    assert (tmp_path / "dev_data" / "raw" / "dev_fan.zip.part").stat().st_size == 5000


def test_a_line_that_breaks_often_gets_there(fan, tmp_path):
    fan.cut_after["dev_fan.zip"] = [1000] * 15
    download(2025, "dev", tmp_path, api=fan.api)
    assert len(requested(fan, "dev_fan.zip")) == 16


def test_a_part_of_an_earlier_run_is_resumed(fan, tmp_path):
    whole = fan.files[RECORDS[2025][0]]["dev_fan.zip"]
    part = tmp_path / "dev_data" / "raw" / "dev_fan.zip.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(whole[:7000])
    download(2025, "dev", tmp_path, api=fan.api)
    assert requested(fan, "dev_fan.zip") == ["bytes=7000-"]
    assert not part.exists()


def test_a_server_without_ranges_begins_again(fan, tmp_path):
    fan.ignore_range = True
    fan.cut_after["dev_fan.zip"] = [5000]
    download(2025, "dev", tmp_path, api=fan.api)
    assert len(scan(tmp_path).recordings) == 1


def test_a_download_that_stays_truncated_is_an_error_and_keeps_its_part(fan, tmp_path):
    fan.cut_after["dev_fan.zip"] = [2500] + [100] * 50
    with pytest.raises(DownloadError, match=r"dev_fan\.zip: not fetched completely.*again"):
        download(2025, "dev", tmp_path, api=fan.api)
    assert (tmp_path / "dev_data" / "raw" / "dev_fan.zip.part").stat().st_size == 2000
    assert not (tmp_path / "dev_data" / "raw" / "fan").exists()


def test_a_busy_server_is_asked_again_a_missing_file_is_not(fan, tmp_path):
    def fetch_after(*failures):
        fan.log.clear()
        fan.failures = []
        session_list = module._list

        def listed(*args):
            found = session_list(*args)
            fan.failures = list(failures)
            return found

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(module, "_list", listed)
            download(2025, "dev", tmp_path / str(failures[0]), api=fan.api)

    fetch_after(503, 429)
    assert len(requested(fan, "dev_fan.zip")) == 3
    with pytest.raises(DownloadError, match="404"):
        fetch_after(404)
    assert len(requested(fan, "dev_fan.zip")) == 1


def test_a_wrong_md5_is_an_error_and_the_file_is_removed(fan, tmp_path):
    fan.wrong_md5.add("dev_fan.zip")
    with pytest.raises(DownloadError, match="wrong MD5"):
        download(2025, "dev", tmp_path, api=fan.api)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_a_file_larger_than_promised_is_refused(fan, tmp_path, monkeypatch):
    whole = fan.files[RECORDS[2025][0]]["dev_fan.zip"]
    honest = fan.record

    def lying(number):
        answer = honest(number)
        answer["files"][0]["size"] = len(whole) - 1500
        return answer

    monkeypatch.setattr(fan, "record", lying)
    with pytest.raises(DownloadError, match="more than"):
        download(2025, "dev", tmp_path, api=fan.api)


def test_an_interrupted_run_goes_on(fan, tmp_path):
    def interrupted(items, *, total, label):
        for i, item in enumerate(items):
            if i == 3:
                raise KeyboardInterrupt
            yield item

    with pytest.raises(KeyboardInterrupt):
        download(2025, "dev", tmp_path, progress=interrupted, api=fan.api)
    assert (tmp_path / "dev_data" / "raw" / "dev_fan.zip.part").stat().st_size >= 3000
    download(2025, "dev", tmp_path, api=fan.api)
    assert requested(fan, "dev_fan.zip")[-1].startswith("bytes=")
    assert len(scan(tmp_path).recordings) == 1


def test_off_line_the_error_says_what_to_do_by_hand(tmp_path):
    with pytest.raises(DownloadError, match=r"cannot reach.*zenodo\.org/records/15097779 by hand.*dev_data") as caught:
        download(2025, "dev", tmp_path, api="http://127.0.0.1:9/api/records")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("answer", [{}, {"files": [{"key": "dev_fan.zip"}]}, [], {"files": None}])
def test_a_strange_record_is_an_error(fan, tmp_path, monkeypatch, answer):
    monkeypatch.setattr(fan, "record", lambda number: answer)
    with pytest.raises(DownloadError, match="as expected"):
        download(2025, "dev", tmp_path, api=fan.api)


def test_wrong_arguments(fan, tmp_path):
    for edition in ("dcase2019", "2027", "fan"):
        with pytest.raises(InputError, match="use dcase2020 to dcase2026"):
            download(edition, "dev", tmp_path, api=fan.api)
    with pytest.raises(InputError, match="use dev or eval"):
        download(2025, "test", tmp_path, api=fan.api)
    with pytest.raises(InputError, match="did you mean fan"):
        download(2025, "dev", tmp_path, ["fam"], api=fan.api)


def test_a_full_disk_is_told_before_anything_is_fetched(fan, tmp_path, monkeypatch):
    monkeypatch.setattr(module.shutil, "disk_usage", lambda path: type("Usage", (), {"free": 10_000})())
    with pytest.raises(DownloadError, match=r"not enough room.*GB free"):
        download(2025, "dev", tmp_path, api=fan.api)
    assert not requested(fan, "dev_fan.zip")


def test_the_command_says_where_it_wrote(fan, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("echobank.data.download.download.__defaults__", ((), module.silent, fan.api))
    assert main(["download", "dcase2025", "--split", "dev", "--root", str(tmp_path), "--machine", "fan"]) == 0
    assert f"wrote {tmp_path / 'dev_data' / 'raw' / 'fan'}" in capsys.readouterr().out
    assert main(["download", "dcase1999", "--root", str(tmp_path)]) == 2
    assert capsys.readouterr().err.count("\n") == 1
