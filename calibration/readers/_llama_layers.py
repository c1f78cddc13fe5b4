"""What the processor computed of a run of llama-bench: all of it, or the layers that the card was not given."""

import re
from dataclasses import replace

from calibration import catalog, naming
from calibration.points import Point
from calibration.rows import Row

SPLIT = "layers on the CPU"
FEWEST_LAYERS = 16  # of models that people serve
GIVEN = re.compile(r"(?:^|;)n-gpu-layers=(\d{1,9})(?:;|$)")


def on_the_processor(row: Row, gpu: str, model: str) -> str:
    """The processor that did all of the work, or that it did some; blank where it did none, as far as the row tells."""
    if gpu == naming.PROCESSOR:
        return row.text("cpu_info")
    given = row.number("n_gpu_layers")
    known = naming.model_and_format(model)[0]
    layers = catalog.model(known).layers if naming.is_model(known) else FEWEST_LAYERS
    # -1 is all of them
    return SPLIT if given is not None and 0 <= given < layers else ""


def with_split(point: Point) -> Point:
    """The point with what its model's layers tell, once somebody has said which model it was."""
    given = GIVEN.search(point.engine_options)
    if not given or point.gpu == naming.PROCESSOR or SPLIT in point.notes or not naming.is_model(point.model):
        return point
    if int(given[1]) >= catalog.model(point.model).layers:
        return point
    return replace(point, notes="; ".join(filter(None, (point.notes, SPLIT))))
