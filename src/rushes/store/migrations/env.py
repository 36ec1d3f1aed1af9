"""Alembic's entry: migrations run on the connection that `rushes.store.migrations.migrate` hands over."""

from alembic import context

from rushes.store.tables.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,
)
context.run_migrations()
