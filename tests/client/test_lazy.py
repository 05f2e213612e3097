"""What is imported when: nothing for `import fivefold`, neither gRPC nor pandas for `fivefold --help`."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = ("grpc", "google.protobuf", "pandas", "pyarrow", "numpy", "rich", "polars")


def run(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)


def test_importing_fivefold_imports_nothing_heavy() -> None:
    outcome = run(f"import fivefold, sys; print([name for name in {(*HEAVY, 'click')!r} if name in sys.modules])")
    assert outcome.stdout.strip() == "[]"


@pytest.mark.parametrize("arguments", [["--help"], ["models", "--help"], ["up", "--help"], ["predict", "--help"]])
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    code = f"""
import sys
from fivefold.cli import main
code = main({arguments!r})
print([name for name in {HEAVY!r} if name in sys.modules], code)
"""
    assert run(code).stdout.splitlines()[-1] == "[] 0"


BARE = """
import sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"pandas", "pyarrow", "numpy", "polars", "click", "rich", "fivefold_runtime"}:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Refuse())
import fivefold
client = fivefold.connect("127.0.0.1:9")
"""


def test_the_sdk_needs_no_extra_until_a_frame_is_used() -> None:
    outcome = run(
        BARE
        + """
for service in ("tracking", "features", "registry", "automl", "serving"):
    getattr(client, service)
try:
    client.serving.predict("m", {"a": [1, 2.5], "b": ["x", None]})
except fivefold.Unreachable as error:
    print("unreachable", error.facts["service"])
"""
    )
    assert outcome.stdout.strip() == "unreachable serving", outcome.stderr


def test_a_frame_without_its_extra_says_what_to_install() -> None:
    outcome = run(
        BARE
        + """
try:
    client.features.write("t", {"a": [1]})
except fivefold.MissingExtra as error:
    print(error)
"""
    )
    assert "needs pyarrow, which is not installed" in outcome.stdout, outcome.stderr
    assert "pip install 'fivefold[pandas]'" in outcome.stdout


def test_the_command_without_its_extra_says_what_to_install() -> None:
    outcome = run(BARE.partition("import fivefold")[0] + "from fivefold.cli import main; sys.exit(main(['--help']))")
    assert outcome.returncode == 2
    assert outcome.stderr.strip() == "the command fivefold needs click and rich: pip install 'fivefold[cli]'"
