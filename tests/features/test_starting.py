"""The service as a command: what it says, and what it does not load before it must."""

from __future__ import annotations

import subprocess
import sys


def said(*command: str) -> str:
    return subprocess.run([sys.executable, *command], capture_output=True, text=True, check=True, timeout=60).stdout


def test_help_lists_every_setting_of_its_own() -> None:
    text = said("-m", "fivefold_features", "--help")
    for setting in ("--store-url", "--objects-url", "--online-url", "127.0.0.1:7102"):
        assert setting in text


def test_a_server_that_is_idle_has_loaded_no_bulk_engine() -> None:
    program = (
        "import sys, tempfile\n"
        "from fivefold_features.__main__ import Config, build\n"
        "app = build(Config(data=tempfile.mkdtemp()))\n"
        "app.database.close()\n"
        "print(sorted({'pyarrow', 'polars', 'deltalake', 'redis', 'pandas'} & sys.modules.keys()))\n"
    )
    assert said("-c", program).strip() == "[]"
