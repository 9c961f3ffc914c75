"""The schema: what the service holds, the same on SQLite and PostgreSQL; docs/architecture.md describes each table.

Times are whole milliseconds since 1970, UTC. A change here needs a migration in `migrations/versions`.
"""

from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

SCHEMA = "0002"  # the newest revision that this version of the program knows

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)
_Json = JSON(none_as_null=True)
_Serial = BigInteger().with_variant(Integer, "sqlite")  # SQLite counts by itself in a column of type INTEGER alone


def _machine(*, key: bool = False) -> Column[int]:
    return Column("machine", _Serial, ForeignKey("machines.id"), nullable=False, primary_key=key, autoincrement=False)


def _summary(name: str) -> Table:
    """Return a table of windows thinned to one row per machine, period and bank revision."""
    return Table(
        name,
        metadata,
        _machine(key=True),
        Column("begins", BigInteger, primary_key=True, autoincrement=False),
        Column("revision", Integer, primary_key=True, autoincrement=False),
        Column("windows", Integer, nullable=False),
        Column("errors", Integer, nullable=False),
        Column("anomalous", Integer, nullable=False),
        Column("score", _Json),
        Column("p_value", _Json),
        Column("level", _Json),
        Column("nearest", _Json),
        Column("flags", _Json),
    )


machines = Table(
    "machines",
    metadata,
    Column("id", _Serial, primary_key=True),
    Column("name", String(200), nullable=False, unique=True),
    Column("bank", Text, nullable=False, default=""),
    Column("revision", Integer, nullable=False, default=0),
    Column("threshold", Float),
    Column("rate", Float),
    Column("rule", _Json),
    Column("paused_until", BigInteger),
    Column("muted_until", BigInteger),
    Column("created", BigInteger, nullable=False),
    Column("heard", BigInteger),
)
sources = Table(
    "sources",
    metadata,
    Column("id", _Serial, primary_key=True),
    _machine(),
    Column("kind", String(40), nullable=False),
    Column("place", Text, nullable=False),
    Column("state", String(40), nullable=False),
    Column("trouble", Text, nullable=False, default=""),
    Column("changed", BigInteger, nullable=False),
    UniqueConstraint("machine", "kind", "place"),
)
windows = Table(
    "windows",
    metadata,
    Column("id", String(64), primary_key=True),
    _machine(),
    Column("heard", BigInteger, nullable=False),
    Column("received", BigInteger, nullable=False),
    Column("revision", Integer, nullable=False, default=0),
    Column("file", Text, nullable=False),
    Column("start", Float),
    Column("seconds", Float),
    Column("score", Float),
    Column("p_value", Float),
    Column("percentile", Float),
    Column("decision", Integer),
    Column("nearest", Text, nullable=False, default=""),
    Column("nearest_start", Float),
    Column("level_dbfs", Float),
    Column("flags", Text, nullable=False, default=""),
    Column("error", Text, nullable=False, default=""),
    Column("quiet", Text),
    Column("clip", String(64)),
    Index(None, "machine", "heard"),
    Index(None, "received"),
)
minutes = _summary("minutes")
Index(None, minutes.c.begins)
hours = _summary("hours")
events = Table(
    "events",
    metadata,
    Column("id", String(64), primary_key=True),
    _machine(),
    Column("kind", String(20), nullable=False),
    Column("opened", BigInteger, nullable=False),
    Column("closed", BigInteger),
    Column("file", Text, nullable=False, default=""),
    Column("start", Float),
    Column("seconds", Float),
    Column("peak", Float),
    Column("windows", Integer),
    Column("threshold", Float),
    Column("revision", Integer, nullable=False, default=0),
    Column("nearest", Text, nullable=False, default=""),
    Column("nearest_start", Float),
    Column("clip", String(64)),
    Column("acknowledged", BigInteger),
    Column("acknowledged_by", String(200)),
    Column("muted", BigInteger),
    Column("opinion", String(20)),
    Column("opinion_revision", Integer),
    Column("note", Text, nullable=False, default=""),
    Index(None, "machine", "opened"),
    Index(None, "opened"),
    Index(None, "closed"),
)
clips = Table(
    "clips",
    metadata,
    Column("id", String(64), primary_key=True),
    _machine(),
    Column("file", String(80), nullable=False),
    Column("kind", String(10), nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("seconds", Float),
    Column("made", BigInteger, nullable=False),
    Index(None, "made"),
)
revisions = Table(
    "revisions",
    metadata,
    _machine(key=True),
    Column("revision", Integer, primary_key=True, autoincrement=False),
    Column("at", BigInteger, nullable=False),
    Column("action", String(40), nullable=False),
    Column("rows", Integer, nullable=False),
    Column("threshold", Float),
    Column("rate", Float),
)
notes = Table(
    "notes",
    metadata,
    Column("id", _Serial, primary_key=True),
    _machine(),
    Column("event", String(64)),
    Column("at", BigInteger, nullable=False),
    Column("author", String(200), nullable=False, default=""),
    Column("action", String(40), nullable=False),
    Column("text", Text, nullable=False, default=""),
    Index(None, "machine", "at"),
)
troubles = Table(
    "troubles",
    metadata,
    Column("id", _Serial, primary_key=True),
    _machine(),
    Column("text", Text, nullable=False),
    Column("since", BigInteger, nullable=False),
    Column("until", BigInteger),
    Index(None, "machine", "until"),
)
receipts = Table(
    "receipts",
    metadata,
    _machine(key=True),
    Column("key", String(200), primary_key=True),
    Column("digest", String(64), nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("answer", _Json, nullable=False),
    Index(None, "at"),
)
messages = Table(
    "messages",
    metadata,
    Column("sequence", _Serial, primary_key=True),
    Column("id", String(64), nullable=False, unique=True),
    _machine(),
    Column("kind", String(20), nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("body", _Json, nullable=False),
    Index(None, "at"),
    sqlite_autoincrement=True,  # a number that a listener has seen is never given again
)
tokens = Table(
    "tokens",
    metadata,
    Column("id", _Serial, primary_key=True),
    Column("name", String(200), nullable=False),
    Column("sha256", String(64), nullable=False, unique=True),
    Column("scopes", String(100), nullable=False),
    Column("created", BigInteger, nullable=False),
    Column("ends", BigInteger),
    Column("parent", _Serial, ForeignKey("tokens.id", ondelete="CASCADE")),
)
