"""Where experiments, runs and their artifacts' entries are kept: SQLite or PostgreSQL.

`protocol.py` states the promises, `records.py` what is handed out, `tables.py` what is kept; `sql.py` is the adapter.
"""
