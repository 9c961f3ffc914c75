"""Indexes by time alone: events of all machines, the newest first, and minutes whose time is over."""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the indexes."""
    op.create_index("ix_events_opened", "events", ["opened"])
    op.create_index("ix_minutes_begins", "minutes", ["begins"])
