"""The names a user writes turned into engines, policies and values."""

import sys
from collections.abc import Callable
from functools import cache
from importlib import import_module
from importlib.resources import files
from inspect import isabstract
from typing import Any, cast

from sim.engine import Engine
from sim.errors import UnknownName, UsageError
from sim.naming import fold
from sim.router import RouterMaker
from sim.scheduler import Scheduler


@cache
def module_names(folder: str) -> dict[str, str]:
    """The files of a folder of policies, by the compared form of their names."""
    names = (path.name.removesuffix(".py") for path in files("policies").joinpath(folder).iterdir())
    return {fold(name): name for name in sorted(names) if name.isidentifier() and not name.startswith("_")}


def engine_names() -> list[str]:
    """Every engine there is: the files that know how to deploy one."""
    return [name for name in module_names("engines").values() if hasattr(_engine_module(name), "deploy")]


def engine_name(name: str) -> str:
    """The file that a spelling of an engine's name means; `package.module:object` stays as it is."""
    found = name if ":" in name else module_names("engines").get(fold(name))
    if found is None or (":" not in found and not hasattr(_engine_module(found), "deploy")):
        raise UnknownName("engine", name, engine_names())
    return found


def engine(name: str) -> Engine:
    """The engine of that name."""
    found = engine_name(name)
    return cast(Engine, outside(found) if ":" in found else _engine_module(found))


def _engine_module(name: str) -> Any:
    return import_module(f"policies.engines.{name}")


def outside(name: str) -> Any:
    """What `package.module:Name` means, looked for beside the user's files too."""
    module_name, _, attribute = name.partition(":")
    if "" not in sys.path:
        sys.path.append("")
    try:
        return getattr(import_module(module_name), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise UsageError(f"'{name}' cannot be loaded as package.module:Name: {error}") from error


def router(name: str) -> RouterMaker:
    """What makes a router of that name."""
    return cast(RouterMaker, policy_class("routers", "router", name, lambda kind: hasattr(kind, "choose")))


def scheduler_names() -> list[str]:
    """Every scheduling policy: the files that hold one."""
    names = module_names("schedulers").values()
    return [name for name in names if _classes("schedulers", name, is_scheduler)]


def router_names() -> list[str]:
    """Every routing policy."""
    return list(module_names("routers").values())


def is_scheduler(kind: type[Any]) -> bool:
    """Whether a class is a policy, and not what several have in common."""
    return issubclass(kind, Scheduler) and not isabstract(kind)


def policy_class(folder: str, word: str, name: str, fits: Callable[[type[Any]], bool]) -> Any:
    """The class that gives the file of that name its name, or is the only one of its sort in it."""
    if ":" in name:
        return outside(name)
    stem = module_names(folder).get(fold(name))
    found = _classes(folder, stem, fits) if stem else []
    namesakes = [kind for kind in found if fold(kind.__name__) == fold(name)]
    if len(namesakes or found) != 1:
        known = [known for known in module_names(folder).values() if _classes(folder, known, fits)]
        raise UnknownName(word, name, known)
    return (namesakes or found)[0]


def _classes(folder: str, stem: str, fits: Callable[[type[Any]], bool]) -> list[type[Any]]:
    module = import_module(f"policies.{folder}.{stem}")
    own = (kind for kind in vars(module).values() if isinstance(kind, type) and kind.__module__ == module.__name__)
    return [kind for kind in own if fits(kind)]


def option_value(text: str) -> Any:
    """An option's value as a number or a truth value where it reads as one."""
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
