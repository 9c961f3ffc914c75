"""A fleet on S3: moto's server on loopback, whose log counts the requests; embeddings, banks and scores as on disk."""

import os
import re
import shutil
import subprocess
import time
import urllib.request
from collections import Counter
from dataclasses import replace

import pytest

from echobank.cli import main
from echobank.errors import EXIT_ANOMALIES, EXIT_OK, EXIT_SKIPPED
from tests.fleet.support import SET, WINDOW, heard_in, same_heard, small_fleet
from tests.fleet.test_banks import HerePool
from tests.fleet.test_embed import embed
from tests.requirements import require


class S3:
    """A running server: its bucket, and the requests that it answered."""

    def __init__(self, port, log):
        self.bucket, self._log = "s3://fleet", log
        self.url = f"http://127.0.0.1:{port}"

    def requests(self, method):
        """Return how often each path was asked for."""
        text = self._log.read_text(errors="replace")
        return Counter(re.findall(rf'{method} /fleet/([^ ?]*)[^"]*" 20', text))


@pytest.fixture(scope="module")
def s3(tmp_path_factory):
    program = require("s3")
    pytest.importorskip("pyarrow", reason="no Ray")
    log = tmp_path_factory.mktemp("s3") / "log"
    with log.open("wb") as stream:
        server = subprocess.Popen([program, "-H", "127.0.0.1", "-p", "0"], stdout=stream, stderr=stream)
    try:
        deadline, port = time.monotonic() + 60, None
        while not port and time.monotonic() < deadline and server.poll() is None:
            time.sleep(0.1)
            port = re.search(r"http://127\.0\.0\.1:(\d+)", log.read_text(errors="replace"))
        assert port, log.read_text()
        here = S3(port[1], log)
        urllib.request.urlopen(urllib.request.Request(f"{here.url}/fleet", method="PUT")).close()
        with pytest.MonkeyPatch.context() as patch:
            for name, value in {
                "AWS_ENDPOINT_URL": here.url,
                "AWS_ACCESS_KEY_ID": "test",
                "AWS_SECRET_ACCESS_KEY": "test",
                "AWS_DEFAULT_REGION": "us-east-1",
                "AWS_EC2_METADATA_DISABLED": "true",
            }.items():
                patch.setenv(name, value)
            patch.setattr("echobank.cli.fleet._pool_of", lambda make, args: HerePool(make()))
            yield here
    finally:
        server.kill()
        server.wait()


def upload(folder, place):
    from pyarrow import fs

    system, path = fs.FileSystem.from_uri(place)
    fs.copy_files(str(folder), path, source_filesystem=fs.LocalFileSystem(), destination_filesystem=system)


def test_a_fleet_on_s3_is_the_fleet_on_disk(s3, tmp_path, capsys):
    source = small_fleet(tmp_path / "in", machines=2, days=2, clips=8)
    (source / "pump0" / "2026-03-01" / "bad.wav").write_bytes(b"no sound")
    upload(source, f"{s3.bucket}/in")
    embed_s3 = ["fleet", "embed", f"{s3.bucket}/in", "--out", f"{s3.bucket}/out", *WINDOW, *SET, "--shard", "5"]
    assert main(embed_s3) == EXIT_SKIPPED
    assert "32 recordings embedded" in capsys.readouterr().out
    gets = s3.requests("GET")
    assert {name: gets[f"in/{name}"] for name in names(source)} == dict.fromkeys(names(source), 1)

    embed(source, tmp_path / "out")
    disk, stored = heard_in(tmp_path / "out"), heard_in(f"{s3.bucket}/out")
    assert disk.keys() == stored.keys()
    for name, heard in stored.items():
        error = heard.error.replace(f"{s3.bucket}/in", str(source))
        assert same_heard(replace(heard, path=disk[name].path, error=error), disk[name])

    assert main(embed_s3) == EXIT_SKIPPED
    assert "nothing new" in capsys.readouterr().out
    before = s3.requests("GET")
    shutil.copy(source / "pump1" / "2026-03-02" / "0.wav", tmp_path / "late.wav")
    (tmp_path / "more").mkdir()
    (tmp_path / "late.wav").rename(tmp_path / "more" / "late.wav")
    upload(tmp_path / "more", f"{s3.bucket}/in/pump1/2026-03-02")
    assert main(embed_s3) == EXIT_SKIPPED
    assert "1 recording embedded" in capsys.readouterr().out
    new = s3.requests("GET") - before
    assert [name for name in new if name.startswith("in/") and name.endswith(".wav")] == [
        "in/pump1/2026-03-02/late.wav"
    ]


def names(source):
    return sorted(path.relative_to(source).as_posix() for path in source.rglob("*.wav"))


def test_banks_verdicts_and_packs_on_s3(s3, tmp_path, capsys):
    source = small_fleet(tmp_path / "in", machines=2, days=2, clips=12)
    packs, out, banks = (f"{s3.bucket}/{name}" for name in ("packs", "packed", "banks"))
    assert main(["fleet", "pack", str(source), "--out", packs]) == EXIT_OK
    assert main(["fleet", "embed", packs, "--out", out, *WINDOW, *SET]) == EXIT_OK
    assert "48 recordings embedded" in capsys.readouterr().out
    assert main(["fleet", "fit", out, "--out", banks, "--days", "2026-03-01"]) == EXIT_OK
    argv = ["fleet", "score", out, "--banks", banks, "--out", f"{s3.bucket}/verdicts", "--days", "2026-03-02"]
    assert main(argv) == EXIT_ANOMALIES
    assert capsys.readouterr().out.splitlines()[-2].startswith("pump1,12,36,")

    embed(source, tmp_path / "out")
    assert main(["fleet", "fit", str(tmp_path / "out"), "--out", str(tmp_path / "banks"), "--days", "2026-03-01"]) == 0
    from echobank.fleet.location import Location

    with Location(banks).at_hand("pump0/bank.safetensors") as path:
        copy = shutil.copy(path, tmp_path / "copy.safetensors")
    from echobank.detection.bank import load_bank

    assert len(load_bank(copy)) == len(load_bank(tmp_path / "banks" / "pump0" / "bank.safetensors"))


def test_an_object_of_any_size_is_fetched_with_one_request(s3):
    from echobank.fleet.location import Location

    place, content = Location(f"{s3.bucket}/large"), os.urandom(1_500_000)
    place.write("an-hour.bin", content)
    assert place.read("an-hour.bin") == content
    assert s3.requests("GET")["large/an-hour.bin"] == 1


def test_what_is_not_there_is_one_line(s3, capsys):
    assert main(["fleet", "status", "s3://no-such-bucket/x"]) == 2
    said = capsys.readouterr().err
    assert "no-such-bucket" in said and said.count("\n") == 1
    assert os.environ["AWS_ENDPOINT_URL"] == s3.url
