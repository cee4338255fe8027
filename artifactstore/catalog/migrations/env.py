"""Run by Alembic: applies the migrations over the connection that ``upgrade`` hands in."""

from alembic import context

from artifactstore.catalog import tables

context.configure(connection=context.config.attributes["connection"], target_metadata=tables.Package.metadata)
with context.begin_transaction():
    context.run_migrations()
