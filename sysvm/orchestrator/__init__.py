"""Making it true: workers claim things, look, do the one next act, and give them back.

- `engine.py`    claims, runs and releases turns; the heart-beat of this server's session
- `turns/`       one module per kind of thing: what a turn of it does
- `notices.py`   what hosts and agents say without being asked
- `upkeep.py`    dead sessions, overdue jobs
"""
