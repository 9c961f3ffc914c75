"""Mail by SMTP."""

import smtplib
import ssl
from collections.abc import Sequence
from contextlib import suppress
from email.message import EmailMessage
from urllib.parse import parse_qs, unquote

from echobank.errors import ConfigError
from echobank.watch.events import Message
from echobank.watch.sinks.notice import NOTICES, notice_of
from echobank.watch.sinks.sink import SinkError, digest, hidden, split_address

_SECONDS = 20.0
_HINT = "write --mail 'smtp://user@host:587/?to=shift@example.org&from=echobank@example.org'"
_HERE = ("localhost", "127.0.0.1", "::1")


class MailSink:
    """Mail to some people.

    A connection is encrypted where the server offers it; a password never goes over one that is not.

    Args:
        url: smtp://[user@]host[:port]/?to=...[&from=...], or smtps:// for a port that is encrypted from the start.
        password: Of the user; empty where the address has it or none is needed.

    Raises:
        ConfigError: It is not such an address.
    """

    kinds, remote = NOTICES, True

    def __init__(self, url: str, password: str = "") -> None:
        self._parts = parts = split_address(url, ("smtp", "smtps"), "a mail address", _HINT)
        query = parse_qs(parts.query)
        self._to = [name.strip() for text in query.get("to", []) for name in text.split(",") if name.strip()]
        if not self._to or not all("@" in name for name in self._to):
            raise ConfigError("nobody to send mail to", value=hidden(parts), hint=_HINT)
        self._user = unquote(parts.username or "")
        self._password = password or unquote(parts.password or "")
        sender = self._user if "@" in self._user else "echobank@localhost"
        self._from = query.get("from", [sender])[0]
        self.name = f"mail-{parts.hostname}-{digest(','.join(sorted(self._to)))}"

    def send(self, messages: Sequence[Message]) -> None:
        """Send one mail per message, over one connection."""
        host = str(self._parts.hostname)
        try:
            with self._connection(host) as server:
                for message in messages:
                    server.send_message(self._mail(message))
        except (OSError, smtplib.SMTPException) as error:
            reason = error.__class__.__name__ if isinstance(error, smtplib.SMTPException) else str(error)
            raise SinkError(f"the mail server did not take a message ({reason})", where=host) from error

    def mark(self) -> int:
        """Return 0: what was sent stays sent."""
        return 0

    def rewind(self, mark: int) -> None:
        """Do nothing: the same message again has the same Message-ID."""

    def close(self) -> None:
        """Do nothing: every delivery has a connection of its own."""

    def _connection(self, host: str) -> smtplib.SMTP:
        context = ssl.create_default_context()
        if self._parts.scheme == "smtps":
            server: smtplib.SMTP = smtplib.SMTP_SSL(host, self._parts.port or 465, timeout=_SECONDS, context=context)
        else:
            server = smtplib.SMTP(host, self._parts.port or 587, timeout=_SECONDS)
        try:
            server.ehlo()
            encrypted = self._parts.scheme == "smtps"
            if not encrypted and server.has_extn("starttls"):
                server.starttls(context=context)
                server.ehlo()
                encrypted = True
            if self._password:
                if not encrypted and host not in _HERE:
                    raise SinkError("the mail server does not encrypt; the password stays here", where=host)
                server.login(self._user, self._password)
        except BaseException:
            with suppress(OSError, smtplib.SMTPException):
                server.close()
            raise
        return server

    def _mail(self, message: Message) -> EmailMessage:
        notice, mail = notice_of(message), EmailMessage()
        mail["Subject"], mail["From"], mail["To"] = notice.title, self._from, ", ".join(self._to)
        mail["Message-ID"] = f"<{message.id}@echobank>"
        if notice.urgent:
            mail["Importance"] = "high"
        mail.set_content(notice.text + "\n")
        return mail
