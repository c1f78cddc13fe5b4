"""Measurements gathered, predicted and compared."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from calibration import catalog, profile, reading, sources
from calibration.points import Reading
from calibration.profile import Profile
from calibration.validate import Comparison, Unmapped, Validation
from sim import compose
from sim.cli.measured.case import Case, Line, cases
from sim.cli.measured.comparing import compared
from sim.cli.measured.held_out import Assigned, Refit, one_for_all, without_own_part
from sim.cli.measured.physics_gate import refusal
from sim.cli.measured.predictions import Predicted, predictions
from sim.errors import BadScenario, UnknownName, UsageError

Warner = Callable[[str], None]
Report = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class Question:
    """What is to be compared with what."""

    points: Path | None  # None: the committed measurements
    given: Mapping[str, str]  # columns for blanks of the file
    engines: tuple[str, ...]
    gpus: tuple[str, ...]
    profile: str | None  # None: the shipped one
    hold_out: str
    processes: int


def validation(question: Question, warn: Warner, report: Report) -> Validation:
    """Every measurement beside its prediction, and why the others have none."""
    lines, rejected = _committed() if question.points is None else from_file(question.points, question.given, warn)
    wanted = _filter(question)
    found, unmapped = cases([line for line in lines if wanted(line)], refusal)
    shipped = profile.load(question.profile or compose.PROFILE)
    assigned = one_for_all(found, shipped)
    if question.hold_out != "none":
        pool, _ = cases(lines, refusal)
        assigned = without_own_part(
            found, pool, question.hold_out, _refit(), question.processes, partial(report, "fitting")
        )
    told = predictions(found, assigned.profiles, question.processes, partial(report, "predicting"))
    rows, failed = _beside(found, told, assigned, shipped)
    left = sorted((*rejected, *unmapped, *failed), key=lambda each: (each.source_id, each.row))
    if not rows:
        error = UsageError if question.points is None else BadScenario
        raise error(f"{question.points or 'the committed measurements'}: {_why_nothing(question, left)}")
    return Validation(tuple(rows), tuple(left), _in_sample(question, found, shipped, report))


def _why_nothing(question: Question, left: Sequence[Unmapped]) -> str:
    """Why no measurement of a file stands beside a prediction."""
    if not left:
        return f"no measurement{' of that engine and card' if question.engines or question.gpus else ''} is among them"
    place = f"row {left[0].row}: " if left[0].row else ""
    return f"no row could be compared, of {len(left)}; {place}{left[0].reason}"


def _in_sample(question: Question, found: Sequence[Case], shipped: Profile, report: Report) -> tuple[Comparison, ...]:
    """Beside what is held out, the same measurements by the profile that has seen them."""
    if question.hold_out == "none":
        return ()
    assigned = one_for_all(found, shipped)
    told = predictions(found, assigned.profiles, question.processes, partial(report, "predicting in sample"))
    return tuple(_beside(found, told, assigned, shipped)[0])


# -- measurements


def from_file(path: Path, given: Mapping[str, str], warn: Warner) -> tuple[list[Line], list[Unmapped]]:
    """The rows of a file, counted from 1 without the header, and those that its reader rejects."""
    found = reading.read(path, given)
    for message in found.warnings:
        warn(f"{path}: {message}")
    source = path.stem
    rejected = [Unmapped(row_of(each.line), f"{each.field}: {each.reason}", source) for each in found.rejected]
    return numbered(found), rejected


def numbered(found: Reading) -> list[Line]:
    """The points with the numbers of their rows: those that were rejected are counted too."""
    taken = {row_of(each.line) for each in found.rejected}
    free = (row for row in range(1, len(found.points) + len(taken) + 1) if row not in taken)
    return list(zip(free, found.points, strict=False))


def row_of(line: int | None) -> int:
    """The number of a row below the header; 0 where the format has no lines."""
    return 0 if line is None else max(0, line - 1)


def _committed() -> tuple[list[Line], list[Unmapped]]:
    """The measurements that simctl ships, the rows of each source counted from 1."""
    return [line for name in sources.sources() for line in enumerate(sources.load(name), 1)], []


def _filter(question: Question) -> Callable[[Line], bool]:
    engines = {compose.fold(name) for name in question.engines}
    gpus = {catalog.gpu(name).id for name in question.gpus}

    def wanted(line: Line) -> bool:
        point = line[1]
        return (not engines or compose.fold(point.engine) in engines) and (not gpus or _card(point.gpu) in gpus)

    return wanted


def _card(name: str) -> str:
    try:
        return catalog.gpu(name).id
    except UnknownName:
        return name


def _refit() -> Refit:
    """What fits a profile to measurements; it needs an extra."""
    try:
        from calibration.fit import fit
    except ModuleNotFoundError as error:
        raise UsageError(f"--hold-out needs {error.name}: pip install 'simctl[calibrate]'") from None
    return fit


# -- comparing


def _beside(
    found: Sequence[Case], told: Sequence[Predicted], assigned: Assigned, shipped: Profile
) -> tuple[list[Comparison], list[Unmapped]]:
    """Rows with at least one figure, and those where nothing can be compared.

    Bands are the shipped profile's, whatever the prediction was fitted to: they are what is being checked.
    """
    rows: list[Comparison] = []
    failed: list[Unmapped] = []
    for case, each, without in zip(found, told, assigned.held_out, strict=True):
        if isinstance(each.outcome, str):
            failed.append(Unmapped(case.row, each.outcome, case.point.source_id))
            continue
        row = compared(case, each.outcome, shipped, each.trust, without)
        if row.figures:
            rows.append(row)
        else:
            failed.append(Unmapped(case.row, "no figure that is predicted was measured", case.point.source_id))
    return rows, failed
