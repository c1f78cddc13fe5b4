"""Which cards a row of llama-bench was run on: those of the machine, or those of them that `-dev` names."""

import re

from calibration import naming
from calibration.parsing.rows import Row

PROCESSORS = ("CPU", "BLAS")
DEVICE = re.compile(r"[A-Za-z](\d{1,3})(?=/|$)")  # `CUDA0/CUDA1`


def card_and_count(row: Row) -> tuple[str, int]:
    """The card and how many of it; the processor where no card took part."""
    asked = _asked(row)
    if row.text("backends") in PROCESSORS or asked == "none":
        return naming.PROCESSOR, 1
    names = _chosen(asked, [name.strip() for name in row.text("gpu_info").split(",") if name.strip()])
    if not names:
        return row.text("device") or "unstated", asked.count("/") + 1 if asked else _listed(row)
    if len(set(names)) > 1:
        return " + ".join(names), len(names)
    return names[0], 1 if row.text("split_mode") == "none" else len(names)


def _asked(row: Row) -> str:
    """The devices that `-dev` names, `/` between them; blank where the run took what there is."""
    names = row.text("dev") or row.text("devices")
    return "" if names == "auto" or names.isdecimal() else names


def _chosen(asked: str, names: list[str]) -> list[str]:
    """Of the cards that the machine has, those that are asked for by number."""
    numbers = (int(number) for number in DEVICE.findall(asked))
    return [names[number] for number in numbers if number < len(names)] or names


def _listed(row: Row) -> int:
    """How many devices were printed above a table."""
    return int(row.text("devices")) if row.text("devices").isdecimal() else 1
