"""TLS with a certificate that signs itself, made by openssl; a real service and a client that trusts that one alone."""

import os
import shutil
import ssl
import subprocess
import sys
import time

import httpx
import pytest

from echobank.cli import main
from tests.requirements import needs
from tests.serve.serving import SOURCE, free_port, sound

pytestmark = needs("posix")


@pytest.fixture(scope="module")
def certified(tmp_path_factory):
    """Return (certificate, key) of localhost."""
    openssl = shutil.which("openssl") or pytest.skip("no openssl: apt-get install openssl")
    folder = tmp_path_factory.mktemp("tls")
    words = "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -keyout key.pem -out cert.pem"
    names = ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    subprocess.run([openssl, *words.split(), *names], check=True, capture_output=True, cwd=folder)
    return folder / "cert.pem", folder / "key.pem"


def test_everything_goes_through_tls(bank, tmp_path, capsys, certified):
    certificate, key = certified
    data, port = tmp_path / "data", free_port()
    assert main(["serve", "unused", "--data", str(data), "--new-token", "gate", "--scopes", "read,upload"]) == 0
    token = capsys.readouterr().out.strip()
    command = [sys.executable, "-m", "echobank", "serve", bank.parent, "--data", data, "--bind", f"127.0.0.1:{port}"]
    command += ["--tls-cert", certificate, "--tls-key", key]
    environment = {**os.environ, "PYTHONPATH": str(SOURCE), "OMP_NUM_THREADS": "1"}
    child = subprocess.Popen(list(map(str, command)), env=environment, stderr=subprocess.PIPE, text=True)
    try:
        trusting = ssl.create_default_context(cafile=str(certificate))
        with httpx.Client(base_url=f"https://localhost:{port}", timeout=30, verify=trusting) as client:
            await_answer(client, child)
            assert client.get("/api/machines").status_code == 401
            login = client.post("/api/login", json={"token": token})
            assert "; secure" in login.headers["set-cookie"].lower()
            assert client.get("/api/machines").json()[0]["name"] == "pump"  # by the cookie
            with client.stream("GET", "/api/stream") as stream:
                lines = stream.iter_lines()
                assert next(lines).startswith("retry:")
                sent = client.post("/api/machines/pump/recordings", content=sound(odd=True))
                assert sent.status_code == 200 and sent.json()["anomalous"]
                assert any(line.startswith("data:") for line in lines)
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"https://localhost:{port}/healthz")  # nobody vouches for it
        with pytest.raises(httpx.TransportError):
            httpx.get(f"http://localhost:{port}/healthz")
    finally:
        child.terminate()
        assert "https://127.0.0.1" in child.communicate(timeout=30)[1]


def await_answer(client, child):
    end = time.monotonic() + 60
    while True:
        assert child.poll() is None and time.monotonic() < end
        try:
            if client.get("/healthz").status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.1)


@pytest.mark.parametrize("swap", ["nothing there", "not a certificate", "another key"])
def test_a_certificate_that_cannot_be_used_is_one_line(bank, tmp_path, capsys, certified, swap):
    certificate, key = certified
    if swap == "nothing there":
        certificate = tmp_path / "none.pem"
    elif swap == "not a certificate":
        certificate = tmp_path / "bad.pem"
        certificate.write_text("no certificate")
    else:
        key = certificate
    words = ["serve", bank.parent, "--data", tmp_path / "data", "--bind", f"127.0.0.1:{free_port()}"]
    assert main([*map(str, words), "--tls-cert", str(certificate), "--tls-key", str(key)]) == 2
    error = capsys.readouterr().err
    assert "the certificate cannot be used" in error and error.count("\n") == 1
