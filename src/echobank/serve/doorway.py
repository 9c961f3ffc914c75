"""The doorway: the address and the certificate, taken and checked before anything is opened."""

import os
import socket
import ssl
from pathlib import Path

from echobank.errors import ConfigError

_BACKLOG = 2048


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
        family, kind, protocol, _, where = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP, flags=socket.AI_PASSIVE
        )[0]
        # The protocol must be named: asyncio sets TCP_NODELAY for sockets that say that they are TCP alone.
        door = socket.socket(family, kind, protocol)
    except OSError as error:
        raise _refused(error, host, port) from error
    try:
        if os.name == "posix":  # elsewhere it would let two programs listen at one address
            door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            door.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        door.bind(where)
        door.listen(_BACKLOG)
    except OSError as error:
        door.close()
        raise _refused(error, host, port) from error
    return door


def _refused(error: OSError, host: str, port: int) -> ConfigError:
    by_name = isinstance(error, socket.gaierror)  # its numbers are not those of the system
    reason = error.strerror if by_name or error.errno is None else os.strerror(error.errno)
    return ConfigError(f"cannot listen ({reason})", value=f"{host}:{port}", hint="give another --bind")
