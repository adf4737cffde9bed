"""The state of the cloud, and the only way to change it: `store.run(op)`.

- `store.py`     run(), read(), the transaction; SQLite and PostgreSQL behind them
- `tables/`      every table, declared once with SQLAlchemy Core
- `queries/`     one module per noun: what is asked of the tables and how they change together
- `settings.py`  every setting with its default, type and scope
- `migrations/`  Alembic; expand first, contract a release later
"""
