"""Measurements made ready to be predicted: their servers put together, their loads read."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from calibration.points import Point
from calibration.validate import Unmapped
from sim.cli.measured.load import Asked, Served, Step, asked
from sim.cli.measured.server import Server, bench, engine_of, server, with_even_contexts
from sim.errors import SimctlError
from workloads.kept import Kept
from workloads.open_loop import Burst

SETUP = (
    *("engine", "engine_version", "engine_options", "gpu", "gpu_count", "model", "weights"),
    *("slots", "context", "kv_gib", "kv_tokens"),
)


@dataclass(frozen=True, slots=True)
class Case:
    """A measurement ready to be predicted."""

    row: int
    point: Point
    server: Server
    asked: Asked

    @property
    def assumed(self) -> tuple[str, ...]:
        """What the row leaves open and how it was taken."""
        return (*self.server.assumed, *self.asked.assumed)


Line = tuple[int, Point]
Judge = Callable[[Point, str], str | None]  # why physics forbids a measurement with such weights, or nothing


def cases(lines: Iterable[Line], judge: Judge) -> tuple[list[Case], list[Unmapped]]:
    """The measurements that can be predicted, and why the others cannot."""
    found: list[Case] = []
    unmapped: list[Unmapped] = []
    servers: dict[object, Server | SimctlError] = {}
    for row, point in lines:
        try:
            case = _case(row, point, servers)
        except SimctlError as error:
            unmapped.append(Unmapped(row, brief(error), point.source_id))
            continue
        refused = judge(point, case.server.variant.weights or "")
        if refused is None:
            found.append(case)
        else:
            unmapped.append(Unmapped(row, refused, point.source_id))
    return found, unmapped


def brief(error: SimctlError) -> str:
    """What is wrong, without the list of everything that would be right."""
    return str(error).partition(": known")[0]


def setup(point: Point) -> tuple[object, ...]:
    """What the columns say of how the server was set up."""
    return tuple(getattr(point, name) for name in SETUP)


def _case(row: int, point: Point, servers: dict[object, Server | SimctlError]) -> Case:
    """The case of a point; those of one server share it."""
    load = asked(point)
    key = (setup(point), load.shape, _bench_sequences(point, load), _is_even(load))
    if key not in servers:
        servers[key] = _server(point, load)
    known = servers[key]
    if isinstance(known, SimctlError):
        raise known
    return Case(row, point, known, load)


def _server(point: Point, load: Asked) -> Server | SimctlError:
    sequences = _bench_sequences(point, load)
    try:
        if sequences is not None:
            found = bench(point, load.shape, sequences)
        else:
            found = server(point, load.shape, serves=isinstance(load.run, Served))
    except SimctlError as error:
        return error
    return replace(found, deployment=with_even_contexts(found.deployment)) if _is_even(load) else found


def _is_even(load: Asked) -> bool:
    """Whether equal requests start together, so that their contexts stay equal."""
    if not isinstance(load.run, Served):
        return True
    workload = load.run.workload
    return isinstance(workload.workload if isinstance(workload, Kept) else workload, Burst)


def _bench_sequences(point: Point, load: Asked) -> int | None:
    """For a bench program of llama.cpp, how many sequences it runs."""
    if engine_of(point) != "llama_cpp" or isinstance(load.run, Served):
        return None
    return load.run.rows if isinstance(load.run, Step) else load.run.sequences
