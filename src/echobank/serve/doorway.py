"""The doorway: the address and the certificate, taken and checked before anything is opened."""

import os
import socket
import ssl
from pathlib import Path

from echobank.errors import ConfigError


def check_certificate(certificate: str | Path, key: str | Path) -> None:
    """Check a certificate and its key.

    Args:
        certificate: File of the certificate and those that it is signed by, PEM.
        key: File of its key, PEM, without a password.

    Raises:
        ConfigError: A file cannot be read, or they do not belong together.
    """
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, password=lambda: "")
    except ssl.SSLError as error:
        reason = (error.reason or "not PEM, or the key has a password").lower().replace("_", " ")
        hint = "--tls-cert and --tls-key name a certificate in PEM and its key without a password"
        raise ConfigError(f"the certificate cannot be used ({reason})", where=certificate, hint=hint) from error
    except OSError as error:
        missing = next((file for file in (certificate, key) if not Path(file).is_file()), certificate)
        raise ConfigError(f"the certificate cannot be used ({error.strerror})", where=missing) from error


def take_address(host: str, port: int) -> socket.socket:
    """Return a socket that is bound to an address; port 0 takes a free one.

    Raises:
        ConfigError: There is no such address here, or another program listens there.
    """
    try:
        family, _, _, _, where = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        return socket.create_server(where[:2], family=family)
    except OSError as error:
        reason = str(error) if error.errno is None or error.errno < 0 else os.strerror(error.errno)
        raise ConfigError(f"cannot listen ({reason})", value=f"{host}:{port}", hint="give another --bind") from error
