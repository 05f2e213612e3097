"""Who may import what: the call graph of the services, pure domain modules, a lean command line."""

import ast
import configparser
import subprocess
import sys
from collections.abc import Iterator

from tests.architecture.tree import ROOT, SERVICES, Module, all_modules, modules

CALLS = {
    "automl": {"tracking", "features", "registry"},
    "serving": {"registry", "features"},
    "registry": {"tracking"},
    "tracking": set(),
    "features": set(),
}
CLOCKS = {"now", "utcnow", "today", "time", "time_ns", "monotonic", "monotonic_ns", "perf_counter", "sleep"}
CHANCE = {"random", "uuid", "secrets"}
MOST_LINES = 500


def test_no_service_imports_another() -> None:
    wrong = {
        f"{module.where} imports {imported}"
        for service in SERVICES
        for module in modules(f"fivefold_{service}")
        for imported in module.imports()
        for other in SERVICES
        if other != service and imported.split(".")[0] == f"fivefold_{other}"
    }
    assert not wrong, f"services talk over gRPC only: {sorted(wrong)}"


def test_only_clients_modules_call_other_services() -> None:
    wrong = {
        f"{module.where} imports the stubs of {other}"
        for service in SERVICES
        for module in modules(f"fivefold_{service}")
        for other in _called(module)
        if other != service and module.path.name != "clients.py"
    }
    assert not wrong, f"an outgoing client lives in the service's clients.py: {sorted(wrong)}"


def test_the_call_graph_is_the_documented_one() -> None:
    graph = {
        service: {other for module in modules(f"fivefold_{service}") for other in _called(module)} - {service}
        for service in SERVICES
    }
    assert graph == CALLS, f"who calls whom, in code: {graph}; in docs/architecture.md: {CALLS}"


def test_pure_modules_read_no_clock_and_no_chance() -> None:
    pure = _pure()
    wrong = {f"{module.where}: {what}" for module in all_modules() if module.name in pure for what in _impure(module)}
    assert not wrong, f"time and randomness come in as arguments: {sorted(wrong)}"


def test_the_list_of_pure_modules_names_modules_that_exist() -> None:
    gone = _pure() - {module.name for module in all_modules()}
    assert not gone, f".importlinter calls modules pure that do not exist: {sorted(gone)}"


def test_every_service_has_pure_modules() -> None:
    without = [service for service in SERVICES if not any(name.startswith(f"fivefold_{service}.") for name in _pure())]
    assert not without, f".importlinter lists no pure module of: {without}"


def test_no_module_is_over_500_lines() -> None:
    long = {module.where: module.lines for module in all_modules() if module.lines > MOST_LINES}
    assert not long, f"over {MOST_LINES} lines: {long}"


def test_the_command_lines_help_imports_neither_grpc_nor_pandas() -> None:
    program = (
        "import sys\n"
        "sys.argv = ['fivefold', '--help']\n"
        "try:\n"
        "    from fivefold.cli import main\n"
        "    main()\n"
        "except SystemExit as end:\n"
        "    assert not end.code, end.code\n"
        "heavy = {'grpc', 'pandas', 'numpy', 'pyarrow', 'google.protobuf'} & sys.modules.keys()\n"
        "print('HEAVY', *sorted(heavy))\n"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, f"fivefold --help failed:\n{ended.stderr}"
    heavy = ended.stdout.splitlines()[-1].split()[1:]
    assert not heavy, f"fivefold --help imports {heavy}"


def _called(module: Module) -> set[str]:
    """Services whose stubs (`…_pb2_grpc`) the module imports."""
    return {
        imported.split(".")[1]
        for imported in module.imports()
        if imported.startswith("fivefold.") and imported.endswith("_pb2_grpc") and imported.split(".")[1] in SERVICES
    }


def _pure() -> set[str]:
    """The modules that .importlinter declares pure."""
    settings = configparser.ConfigParser()
    settings.read(ROOT / ".importlinter")
    return set(settings["importlinter:contract:pure"]["source_modules"].split())


def _impure(module: Module) -> Iterator[str]:
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in CLOCKS:
            owner = ast.unparse(node.func.value).rpartition(".")[2]
            if owner in {"datetime", "date", "time"}:
                yield f"line {node.lineno} reads a clock by {ast.unparse(node.func)}"
    yield from (f"imports {imported}" for imported in module.imports() if imported in CHANCE)
