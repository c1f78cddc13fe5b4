"""Imports form a star, and no file tells on the machine it was written on."""

import ast
import gzip
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import pytest

ROOT = Path(__file__).resolve().parents[1]
WINGS = frozenset({"policies", "workloads", "calibration", "reports"})
KERNEL_PACKAGES = frozenset({"simpy", "numpy"})
RUNNER = PurePosixPath("sim/runner.py")
LOADERS = frozenset({"import_module", "__import__"})
BEHIND_THE_DOOR = frozenset(path.stem for path in (ROOT / "sim" / "compose").glob("[!_]*.py"))


def imported_modules(source: str, path: PurePosixPath) -> Iterator[tuple[int, str]]:
    """Every module that a file names in an import, wherever the import stands, with its line."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import(names=names):
                yield from ((node.lineno, alias.name) for alias in names)
            case ast.ImportFrom(module=module, names=names, level=level):
                package = [*path.parts[: len(path.parts) - level]] if level else []
                origin = ".".join([*package, *([module] if module else [])])
                yield from ((node.lineno, f"{origin}.{alias.name}") for alias in names)
            case ast.Call(args=[first, *_]) if called_name(node) in LOADERS:
                yield node.lineno, leading_text(first)
            case _:
                pass


def called_name(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")


def leading_text(argument: ast.expr) -> str:
    """What is known of a string before the program runs: all of a literal, the beginning of an f-string."""
    if isinstance(argument, ast.JoinedStr):
        return leading_text(argument.values[0]) if argument.values else ""
    return argument.value if isinstance(argument, ast.Constant) and isinstance(argument.value, str) else ""


def forbidden(path: PurePosixPath, module: str) -> str | None:
    """Why a file may not import a module; None where it may."""
    room, target = path.parts[0], module.partition(".")[0]
    in_cli, in_compose = path.parts[:2] == ("sim", "cli"), path.parts[:2] == ("sim", "compose")
    is_door = in_cli or in_compose
    if re.match(r"sim\.cli(\.|$)", module) and not in_cli:
        return "only the command line imports sim.cli"
    if re.match(r"sim\.compose(\.|$)", module) and not is_door:
        return "only the command line imports sim.compose"
    if re.match(rf"sim\.compose\.({'|'.join(BEHIND_THE_DOOR)})(\.|$)", module) and not in_compose:
        return "sim.compose is one door: its names are imported from the package itself"
    if target in WINGS and target != room and not is_door:
        return "a wing imports no other wing" if room in WINGS else "the kernel imports no wing"
    if room == "sim" and is_third_party(target) and not is_allowed(path, target, is_door):
        return "the kernel imports simpy and numpy only, and only runner.py imports joblib"
    return None


def is_third_party(target: str) -> bool:
    return bool(target) and target not in sys.stdlib_module_names and target not in WINGS | {"sim"}


def is_allowed(path: PurePosixPath, target: str, is_door: bool) -> bool:
    if target == "joblib":
        return path == RUNNER
    return is_door or target in KERNEL_PACKAGES


def violations(path: PurePosixPath, source: str) -> list[str]:
    """Every import of a file that leaves the star, as file:line, module and reason."""
    checked = ((line, module, forbidden(path, module)) for line, module in imported_modules(source, path))
    return [f"{path}:{line}: {module}: {reason}" for line, module, reason in checked if reason]


def test_imports_form_a_star() -> None:
    paths = [path for room in sorted(WINGS | {"sim"}) for path in sorted((ROOT / room).rglob("*.py"))]
    assert len(paths) > 10
    found = [
        violation
        for path in paths
        for violation in violations(PurePosixPath(path.relative_to(ROOT).as_posix()), path.read_text(encoding="utf-8"))
    ]
    assert not found, "\n".join(found)


PLANTED = {
    "a wing imports a wing": ("policies/engines/vllm.py", "from calibration import catalog"),
    "inside a function": ("policies/engines/vllm.py", "def f():\n    import workloads.users"),
    "for types only": ("reports/tables.py", "if TYPE_CHECKING:\n    from policies.caches.paged import Paged"),
    "relative": ("workloads/users.py", "from ..calibration import catalog"),
    "by a loader": ("calibration/fit.py", "importlib.import_module('policies.engines.vllm')"),
    "by a loader, half known": ("calibration/fit.py", "import_module(f'policies.{name}')"),
    "the kernel imports a wing": ("sim/core.py", "import policies.schedulers.fcfs"),
    "the kernel imports a package": ("sim/core.py", "import pandas as pd"),
    "joblib outside the sweep": ("sim/replica.py", "from joblib import Parallel"),
    "joblib in the command line": ("sim/cli/sweep.py", "def f():\n    from joblib import Parallel"),
    "rich outside the command line": ("sim/sweep.py", "from rich.table import Table"),
    "a wing imports compose": ("reports/html.py", "from sim import compose"),
    "the kernel imports compose": ("sim/sweep.py", "from sim.compose import build"),
    "the kernel imports compose relatively": ("sim/sweep.py", "from . import compose"),
    "compose imports the command line": ("sim/compose/runs.py", "import sim.cli.main"),
    "past the door of compose": ("sim/cli/sweep.py", "from sim.compose.names import fold"),
    "a room of compose": ("sim/cli/sweep.py", "from sim.compose import names"),
    "a wing imports the command line": ("workloads/users.py", "from sim.cli import main"),
}


@pytest.mark.parametrize(("path", "source"), PLANTED.values(), ids=PLANTED)
def test_a_planted_violation_is_caught_with_its_line(path: str, source: str) -> None:
    (found,) = violations(PurePosixPath(path), "\n\n" + source)
    assert found.startswith(f"{path}:{2 + len(source.splitlines())}: ")


ALLOWED = {
    "stdlib, simpy and numpy": ("sim/replica.py", "import heapq, simpy\nfrom numpy import int64"),
    "joblib in the runner": ("sim/runner.py", "def f():\n    import joblib"),
    "compose imports wings": ("sim/compose/names.py", "from policies.engines import vllm\nimport calibration.catalog"),
    "compose imports itself": ("sim/compose/runs.py", "from sim.compose.names import router"),
    "the command line imports compose": (
        "sim/cli/sweep.py",
        "from sim import compose\nfrom sim.compose import Traffic",
    ),
    "a wing imports the kernel": ("policies/caches/paged.py", "from sim.cache import KVCache\nfrom sim import core"),
    "a wing imports itself": ("calibration/catalog.py", "from calibration.entries import build\nfrom . import fit"),
    "a wing imports its own packages": ("reports/figures.py", "import plotly"),
}


@pytest.mark.parametrize(("path", "source"), ALLOWED.values(), ids=ALLOWED)
def test_what_the_star_allows_passes(path: str, source: str) -> None:
    assert violations(PurePosixPath(path), source) == []


# In pieces, so that this file does not hold what it looks for.
PRIVATE = [
    *(rf"(?<![\w.-])/{first}{rest}/" for first, rest in (("wo", "rk"), ("tm", "p"), ("ro", "ot"), ("opt/py", "pi"))),
    *(rf"(?<![\w.-])/{first}{rest}/\w" for first, rest in (("ho", "me"), ("Us", "ers"))),
    r"\.\./sha" + "red\\b",
    r"(?:py" + r"pi|python" + r"hosted|npm" + r"js)\.org",
]


def private_names(text: str) -> list[str]:
    """The machine paths and registry hosts that a text gives away, each with its line number."""
    found = (match for pattern in PRIVATE for match in re.finditer(pattern, text))
    return [f"{text.count(chr(10), 0, match.start()) + 1}: {match.group()}" for match in found]


def committed_files() -> list[Path]:
    """The files under version control; every file of an unpacked source archive."""
    if not (ROOT / ".git").exists():
        return [path for path in ROOT.rglob("*") if path.is_file() and "." not in path.relative_to(ROOT).parts[0][:1]]
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    return [ROOT / name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]


def readable_text(path: Path) -> str:
    data = path.read_bytes()
    return (gzip.decompress(data) if path.suffix == ".gz" else data).decode("utf-8", errors="replace")


def test_no_file_names_this_machine() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{name}" for path in committed_files() for name in private_names(readable_text(path))
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize("parts", [("/wo", "rk/main"), ("--index https://py", "pi.org/simple"), ("'/ho", "me/ann'")])
def test_a_planted_machine_name_is_caught(parts: tuple[str, str]) -> None:
    assert private_names("first line\n" + "".join(parts))[0].startswith("2: ")


@pytest.mark.parametrize("text", ["https://site.org/work/page", "rows/tmp/", "a homepage/home/"])
def test_an_address_is_not_taken_for_a_machine_path(text: str) -> None:
    assert private_names(text) == []
