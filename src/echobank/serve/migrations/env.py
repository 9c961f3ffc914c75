"""What alembic runs for each migration: on the connection that the service gives it, in one transaction."""

from alembic import context

from echobank.serve.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,
    transaction_per_migration=False,
)
context.run_migrations()
