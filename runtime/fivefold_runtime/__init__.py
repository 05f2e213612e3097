"""What every Fivefold server needs, and nothing that one service alone needs.

A service's `__main__` calls `main.run(service, Config, build)`; `build(config)` returns an `app.App`.
`errors.py` lists what a servicer may raise; `sql.py` and `mutation.py` keep its promises about data.
"""
