"""Alembic's entry: runs on the connection that `cnnf.console.store.migrate` hands over."""

from alembic import context

from cnnf.console.store.schema import metadata

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=metadata, transactional_ddl=True)
with context.begin_transaction():
    context.run_migrations()
