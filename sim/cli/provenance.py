"""Where results come from: the versions of what computed them and the catalogue's figures behind them."""

import platform
import tomllib
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from pathlib import Path
from typing import Any

from sim.engine import Deployment
from sim.hardware import Gpu, Host, Model


def simctl_version() -> str:
    """The installed version, or that of the source tree one works in."""
    try:
        return version("simctl")
    except PackageNotFoundError:
        project = Path(str(files("sim"))).parent / "pyproject.toml"
        stated: str = tomllib.loads(project.read_text(encoding="utf-8"))["project"]["version"]
        return stated


def provenance(deployments: list[Deployment]) -> dict[str, Any]:
    """Facts that let somebody else get the same numbers; nothing that changes from run to run."""
    entries: list[Gpu | Host | Model] = []
    for each in deployments:
        entries.extend(each.gpus)
        entries.append(each.host)
        entries.append(each.model)
    used = {entry.id: entry for entry in entries}
    return {
        "python": platform.python_version(),
        "numpy": version("numpy"),
        "simpy": version("simpy"),
        "catalogue": {
            key: {"name": entry.name, "recalled": list(entry.recalled)} for key, entry in sorted(used.items())
        },
    }
