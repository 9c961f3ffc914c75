"""The first schema."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_SERIAL = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


_TABLES = (
    "machines",
    "tokens",
    "clips",
    "events",
    "hours",
    "messages",
    "minutes",
    "notes",
    "receipts",
    "revisions",
    "sources",
    "troubles",
    "windows",
)


def upgrade() -> None:
    """Make every table."""
    _machines()
    _tokens()
    _clips()
    _events()
    _hours()
    _messages()
    _minutes()
    _notes()
    _receipts()
    _revisions()
    _sources()
    _troubles()
    _windows()


def downgrade() -> None:
    """Remove every table."""
    for name in reversed(_TABLES):
        op.drop_table(name)


def _machines() -> None:
    op.create_table(
        "machines",
        sa.Column("id", _SERIAL, nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("bank", sa.Text(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("threshold", sa.Float(), nullable=True),
        sa.Column("rate", sa.Float(), nullable=True),
        sa.Column("rule", sa.JSON(), nullable=True),
        sa.Column("paused_until", sa.BigInteger(), nullable=True),
        sa.Column("muted_until", sa.BigInteger(), nullable=True),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("heard", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_machines")),
        sa.UniqueConstraint("name", name=op.f("uq_machines_name")),
    )


def _tokens() -> None:
    op.create_table(
        "tokens",
        sa.Column("id", _SERIAL, nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("scopes", sa.String(length=100), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("ends", sa.BigInteger(), nullable=True),
        sa.Column("parent", _SERIAL, nullable=True),
        sa.ForeignKeyConstraint(["parent"], ["tokens.id"], name=op.f("fk_tokens_parent"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tokens")),
        sa.UniqueConstraint("sha256", name=op.f("uq_tokens_sha256")),
    )


def _clips() -> None:
    op.create_table(
        "clips",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("machine", _SERIAL, autoincrement=False, nullable=False),
        sa.Column("file", sa.String(length=80), nullable=False),
        sa.Column("kind", sa.String(length=10), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("seconds", sa.Float(), nullable=True),
        sa.Column("made", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["machine"], ["machines.id"], name=op.f("fk_clips_machine")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_clips")),
    )
    op.create_index(op.f("ix_clips_made"), "clips", ["made"])


def _events() -> None:
    op.create_table(
        "events",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("machine", _SERIAL, autoincrement=False, nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("opened", sa.BigInteger(), nullable=False),
        sa.Column("closed", sa.BigInteger(), nullable=True),
        sa.Column("file", sa.Text(), nullable=False),
        sa.Column("start", sa.Float(), nullable=True),
        sa.Column("seconds", sa.Float(), nullable=True),
        sa.Column("peak", sa.Float(), nullable=True),
        sa.Column("windows", sa.Integer(), nullable=True),
        sa.Column("threshold", sa.Float(), nullable=True),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("nearest", sa.Text(), nullable=False),
        sa.Column("nearest_start", sa.Float(), nullable=True),
        sa.Column("clip", sa.String(length=64), nullable=True),
        sa.Column("acknowledged", sa.BigInteger(), nullable=True),
        sa.Column("acknowledged_by", sa.String(length=200), nullable=True),
        sa.Column("muted", sa.BigInteger(), nullable=True),
        sa.Column("opinion", sa.String(length=20), nullable=True),
        sa.Column("opinion_revision", sa.Integer(), nullable=True),
        sa.Column("note", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["machine"], ["machines.id"], name=op.f("fk_events_machine")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_events")),
    )
    op.create_index(op.f("ix_events_closed"), "events", ["closed"])
    op.create_index(op.f("ix_events_machine_opened"), "events", ["machine", "opened"])


def _hours() -> None:
    op.create_table(
        "hours",
        sa.Column("machine", _SERIAL, autoincrement=False, nullable=False),
        sa.Column("begins", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("revision", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("windows", sa.Integer(), nullable=False),
        sa.Column("errors", sa.Integer(), nullable=False),
        sa.Column("anomalous", sa.Integer(), nullable=False),
        sa.Column("score", sa.JSON(), nullable=True),
        sa.Column("p_value", sa.JSON(), nullable=True),
        sa.Column("level", sa.JSON(), nullable=True),
        sa.Column("nearest", sa.JSON(), nullable=True),
        sa.Column("flags", sa.JSON(), nullable=True),
        sa.ForeignKeyConstraint(["machine"], ["machines.id"], name=op.f("fk_hours_machine")),
        sa.PrimaryKeyConstraint("machine", "begins", "revision", name=op.f("pk_hours")),
    )


def _messages() -> None:
    op.create_table(
        "messages",
        sa.Column("sequence", _SERIAL, nullable=False),
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("machine", _SERIAL, autoincrement=False, nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("body", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(["machine"], ["machines.id"], name=op.f("fk_messages_machine")),
        sa.PrimaryKeyConstraint("sequence", name=op.f("pk_messages")),
        sa.UniqueConstraint("id", name=op.f("uq_messages_id")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_messages_at"), "messages", ["at"])


def _minutes() -> None:
    op.create_table(
        "minutes",
        sa.Column("machine", _SERIAL, autoincrement=False, nullable=False),
        sa.Column("begins", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("revision", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("windows", sa.Integer(), nullable=False),
        sa.Column("errors", sa.Integer(), nullable=False),
        sa.Column("anomalous", sa.Integer(), nullable=False),
        sa.Column("score", sa.JSON(), nullable=True),
        sa.Column("p_value", sa.JSON(), nullable=True),
        sa.Column("level", sa.JSON(), nullable=True),
        sa.Column("nearest", sa.JSON(), nullable=True),
        sa.Column("flags", sa.JSON(), nullable=True),
        sa.ForeignKeyConstraint(["machine"], ["machines.id"], name=op.f("fk_minutes_machine")),
        sa.PrimaryKeyConstraint("machine", "begins", "revision", name=op.f("pk_minutes")),
    )


def _notes() -> None:
    op.create_table(
        "notes",
        sa.Column("id", _SERIAL, nullable=False),
        sa.Column("machine", _SERIAL, autoincrement=False, nullable=False),
        sa.Column("event", sa.String(length=64), nullable=True),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("author", sa.String(length=200), nullable=False),
        sa.Column("action", sa.String(length=40), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["machine"], ["machines.id"], name=op.f("fk_notes_machine")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_notes")),
    )
    op.create_index(op.f("ix_notes_machine_at"), "notes", ["machine", "at"])


def _receipts() -> None:
    op.create_table(
        "receipts",
        sa.Column("machine", _SERIAL, autoincrement=False, nullable=False),
        sa.Column("key", sa.String(length=200), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("answer", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(["machine"], ["machines.id"], name=op.f("fk_receipts_machine")),
        sa.PrimaryKeyConstraint("machine", "key", name=op.f("pk_receipts")),
    )
    op.create_index(op.f("ix_receipts_at"), "receipts", ["at"])


def _revisions() -> None:
    op.create_table(
        "revisions",
        sa.Column("machine", _SERIAL, autoincrement=False, nullable=False),
        sa.Column("revision", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("action", sa.String(length=40), nullable=False),
        sa.Column("rows", sa.Integer(), nullable=False),
        sa.Column("threshold", sa.Float(), nullable=True),
        sa.Column("rate", sa.Float(), nullable=True),
        sa.ForeignKeyConstraint(["machine"], ["machines.id"], name=op.f("fk_revisions_machine")),
        sa.PrimaryKeyConstraint("machine", "revision", name=op.f("pk_revisions")),
    )


def _sources() -> None:
    op.create_table(
        "sources",
        sa.Column("id", _SERIAL, nullable=False),
        sa.Column("machine", _SERIAL, autoincrement=False, nullable=False),
        sa.Column("kind", sa.String(length=40), nullable=False),
        sa.Column("place", sa.Text(), nullable=False),
        sa.Column("state", sa.String(length=40), nullable=False),
        sa.Column("trouble", sa.Text(), nullable=False),
        sa.Column("changed", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["machine"], ["machines.id"], name=op.f("fk_sources_machine")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sources")),
        sa.UniqueConstraint("machine", "kind", "place", name=op.f("uq_sources_machine_kind_place")),
    )


def _troubles() -> None:
    op.create_table(
        "troubles",
        sa.Column("id", _SERIAL, nullable=False),
        sa.Column("machine", _SERIAL, autoincrement=False, nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("since", sa.BigInteger(), nullable=False),
        sa.Column("until", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["machine"], ["machines.id"], name=op.f("fk_troubles_machine")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_troubles")),
    )
    op.create_index(op.f("ix_troubles_machine_until"), "troubles", ["machine", "until"])


def _windows() -> None:
    op.create_table(
        "windows",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("machine", _SERIAL, autoincrement=False, nullable=False),
        sa.Column("heard", sa.BigInteger(), nullable=False),
        sa.Column("received", sa.BigInteger(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("file", sa.Text(), nullable=False),
        sa.Column("start", sa.Float(), nullable=True),
        sa.Column("seconds", sa.Float(), nullable=True),
        sa.Column("score", sa.Float(), nullable=True),
        sa.Column("p_value", sa.Float(), nullable=True),
        sa.Column("percentile", sa.Float(), nullable=True),
        sa.Column("decision", sa.Integer(), nullable=True),
        sa.Column("nearest", sa.Text(), nullable=False),
        sa.Column("nearest_start", sa.Float(), nullable=True),
        sa.Column("level_dbfs", sa.Float(), nullable=True),
        sa.Column("flags", sa.Text(), nullable=False),
        sa.Column("error", sa.Text(), nullable=False),
        sa.Column("quiet", sa.Text(), nullable=True),
        sa.Column("clip", sa.String(length=64), nullable=True),
        sa.ForeignKeyConstraint(["machine"], ["machines.id"], name=op.f("fk_windows_machine")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_windows")),
    )
    op.create_index(op.f("ix_windows_machine_heard"), "windows", ["machine", "heard"])
    op.create_index(op.f("ix_windows_received"), "windows", ["received"])
