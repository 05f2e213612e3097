"""Where models, versions and what happened to them are kept: SQLite or PostgreSQL.

`protocol.py` states the promises, `records.py` what is handed out, `tables.py` what is kept; `sql.py` is the adapter.
"""
