"""How Alembic reaches the tables. The connection is given by `store/schema.py`; there is no offline mode."""

from alembic import context

from sysvm.store.tables import metadata

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=metadata, render_as_batch=True)
with context.begin_transaction():
    context.run_migrations()
