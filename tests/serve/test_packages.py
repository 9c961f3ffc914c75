"""A device asks the service for a newer package of its machine, and gets it only where there is one."""

import io
import os
import zipfile

import pytest

from echobank.edge.bundle import read_facts
from echobank.edge.parity import compare_package
from echobank.machines.machine import open_machine
from echobank.serve import packages
from echobank.storage import sha256_file
from tests.machines.sounds import hum, write

PACKAGE = "/api/machines/pump/package"


@pytest.fixture
def url(tmp_path):
    """Return the address of an SQLite database: packages are files, whatever the database."""
    return f"sqlite:///{tmp_path / 'echobank.db'}"


@pytest.fixture(autouse=True)
def source(monkeypatch):
    """Let the child find this checkout."""
    from tests.serve.serving import SOURCE

    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, (str(SOURCE), os.environ.get("PYTHONPATH")))))


def unpacked(answer, folder):
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        archive.extractall(folder)
    (found,) = folder.iterdir()
    return found


def test_a_package_until_the_bank_changes(service, settings, tmp_path):
    client, _ = service
    first = client.get(PACKAGE)
    assert first.status_code == 200 and first.headers["content-type"] == "application/zip"
    folder, bank = unpacked(first, tmp_path / "first"), settings.banks / "pump"
    facts = read_facts(folder)
    assert facts.bank_sha256 == sha256_file(bank / "bank.safetensors")
    clip = write(tmp_path / "new.wav", hum(4.0, seed=77), 16_000)
    result = compare_package(open_machine(bank), bank, folder, [clip])
    assert result.windows and result.largest < 1e-6 and not result.decisions

    tag = first.headers["etag"]
    for known in (tag, f'"other", W/{tag}'):
        again = client.get(PACKAGE, headers={"If-None-Match": known})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
    assert client.get(PACKAGE).content == first.content

    client.post("/api/machines/pump/rate", json={"rate": 0.2}).raise_for_status()
    newer = client.get(PACKAGE, headers={"If-None-Match": tag})
    assert newer.status_code == 200 and newer.headers["etag"] != tag
    later = read_facts(unpacked(newer, tmp_path / "newer"))
    assert later.revision == facts.revision + 1 and later.false_alarm_rate == 0.2


def test_one_package_per_rate_of_a_recorder(service, tmp_path):
    client, _ = service
    answers = [client.get(PACKAGE, params={"rate": rate}) for rate in (16_000, 48_000)]
    assert len({answer.headers["etag"] for answer in answers}) == 2
    assert read_facts(unpacked(answers[1], tmp_path / "fast")).sample_rate == 48_000


def test_what_cannot_go(service, monkeypatch):
    client, running = service
    assert client.get("/api/machines/other/package").status_code == 404
    assert client.get(PACKAGE, params={"rate": 20}).status_code == 422
    monkeypatch.setattr(packages, "__version__", "another")  # so that no kept package is given
    monkeypatch.setattr(packages.PackageShelf, "_export", lambda *_: (_ for _ in ()).throw(packages.ConfigError("no")))
    answer = client.get(PACKAGE)
    assert answer.status_code == 400 and answer.json() == {"error": "no"}
    assert not list((running.settings.folder / "packages").rglob("*.zip"))


def test_a_package_that_takes_long_is_asked_for_again(service, monkeypatch):
    client, _ = service
    monkeypatch.setattr(packages, "_PATIENCE", 0.01)
    first = client.get(PACKAGE)
    assert first.status_code == 503 and "retry-after" in first.headers and "ask again" in first.json()["error"]
    monkeypatch.setattr(packages, "_PATIENCE", 60.0)
    assert client.get(PACKAGE).status_code == 200


def test_old_packages_go(settings, tmp_path, monkeypatch):
    shelf = packages.PackageShelf(tmp_path / "packages")
    monkeypatch.setattr(packages, "_KEPT", 2)
    made = [shelf.package(settings.banks / "pump", rate) for rate in (16_000, 22_050, 44_100)]
    shelf.close()
    assert [package.file.exists() for package in made] == [False, True, True]


def test_a_shelf_that_is_closed_makes_nothing(settings, tmp_path):
    shelf = packages.PackageShelf(tmp_path / "packages")
    shelf.close()
    with pytest.raises(packages.BusyError):
        shelf.package(settings.banks / "pump", None)
