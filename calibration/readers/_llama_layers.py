"""What the processor computed of a run of llama-bench: all of it, or the layers that the card was not given."""

import re
from dataclasses import replace

from calibration import catalog, naming
from calibration.parsing.rows import Row
from calibration.points import Point, noted

SPLIT = "layers on the CPU"
FEWEST_LAYERS = 16  # of models that people serve
GIVEN = re.compile(r"(?:^|;)n-gpu-layers=(\d{1,9})(?:;|$)")


def on_the_processor(row: Row, gpu: str, model: str) -> str:
    """The processor that did all of the work, or that it did some; blank where it did none, as far as the row tells."""
    if gpu == naming.PROCESSOR:
        return row.text("cpu_info")
    given = row.number("n_gpu_layers")
    return SPLIT if given is not None and _leaves_some(given, naming.model_and_format(model)[0]) else ""


def with_split(point: Point) -> Point:
    """The point with what its model's layers tell, once somebody has said which model it was."""
    given = GIVEN.search(point.engine_options)
    if not given or point.gpu == naming.PROCESSOR or SPLIT in point.notes:
        return point
    return replace(point, notes=noted(point.notes, SPLIT)) if _leaves_some(int(given[1]), point.model) else point


def _leaves_some(given: float, model: str) -> bool:
    """Whether so many layers on the card are not all of them; -1 is all."""
    return 0 <= given < (catalog.model(model).layers if naming.is_model(model) else FEWEST_LAYERS)
