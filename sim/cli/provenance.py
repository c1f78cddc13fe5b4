"""Where results come from: the versions of what computed them and the catalogue's figures behind them."""

import platform
import tomllib
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from pathlib import Path
from typing import Any

from sim.hardware import Gpu, Host, Model


def simctl_version() -> str:
    """The installed version, or that of the source tree one works in."""
    try:
        return version("simctl")
    except PackageNotFoundError:
        project = Path(str(files("sim"))).parent / "pyproject.toml"
        stated: str = tomllib.loads(project.read_text(encoding="utf-8"))["project"]["version"]
        return stated


def provenance(machines: Sequence[tuple[Gpu, Host, Model]]) -> dict[str, Any]:
    """Facts that let somebody else get the same numbers; nothing that changes from run to run."""
    used = {entry.id: entry for machine in machines for entry in machine}
    return {
        "python": platform.python_version(),
        "numpy": version("numpy"),
        "simpy": version("simpy"),
        "catalogue": {
            key: {"name": entry.name, "recalled": list(entry.recalled)} for key, entry in sorted(used.items())
        },
    }
