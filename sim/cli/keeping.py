"""Runs that are done, kept beside the results while work goes on, so that what was cut off can be resumed."""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, TextIO

from reports.schema import decode, encode
from sim.cli.input_files import digests
from sim.cli.provenance import simctl_version
from sim.cli.study import Study, scenario_table
from sim.cli.writing import Output
from sim.errors import BadScenario, UsageError
from sim.metrics import PointMetrics
from sim.request import End

SUFFIX = ".runs.jsonl"


@dataclass
class Kept:
    """A file with a line for every run. Without a place to write it, runs are simply not kept."""

    path: Path
    scenario: str  # a hash of everything that the runs depend on
    failure: str | None = None  # why the runs can no longer be kept
    interrupted: bool = False  # by somebody who wants to see what is done so far
    _known: dict[str, PointMetrics] = field(default_factory=dict)
    _file: TextIO | None = None

    def resume(self) -> int:
        """Read what earlier work on the same scenario left behind; how many runs that are."""
        lines = _lines(self.path)
        if not lines:
            return 0
        if not isinstance(lines[0], dict) or lines[0].get("scenario") != self.scenario:
            raise BadScenario(
                f"{self.path} holds runs of another scenario, or of input files that have changed since: "
                "leave out --resume to start over"
            )
        try:
            self._known = {line["run"]: _decoded(line["measured"]) for line in lines[1:]}
        except (KeyError, TypeError, ValueError, BadScenario) as error:
            raise BadScenario(f"{self.path} holds no runs ({error}): leave out --resume to start over") from None
        return len(self._known)

    def recall(self, name: str) -> PointMetrics | None:
        """The measurement of the run of that name, if it has been made."""
        return self._known.get(name)

    def keep(self, name: str, measured: PointMetrics) -> None:
        """Note a measurement; a disk that is full does not stop the work."""
        self._known[name] = measured
        if self.failure is not None:
            return
        try:
            if self._file is None:
                self._file = self._begun()
            self._file.write(json.dumps({"run": name, "measured": _encoded(measured)}) + "\n")
            self._file.flush()
        except OSError as error:
            self.failure = f"cannot keep runs in {self.path}: {error.strerror or error}; an interrupt will lose them"

    def _begun(self) -> TextIO:
        """The file, rewritten with what is known: a line that was cut off goes."""
        file = self.path.open("w", encoding="utf-8")
        file.write(json.dumps({"scenario": self.scenario}) + "\n")
        for name, measured in list(self._known.items())[:-1]:
            file.write(json.dumps({"run": name, "measured": _encoded(measured)}) + "\n")
        return file

    def close(self, *, finished: bool) -> None:
        """Whoever has finished needs the file no more."""
        if self._file is not None:
            with suppress(OSError):
                self._file.close()
        if finished:
            with suppress(OSError):
                self.path.unlink(missing_ok=True)


@contextmanager
def kept(
    places: Sequence[Output], scenario: Sequence[Any], say: Callable[[str], None], *, resume: bool
) -> Iterator[Kept | None]:
    """The memory of work that has files to write: what is done lies beside the first of them until all is.

    `scenario` holds everything that the runs depend on.
    """
    paths = (place.path for place in places if place.path is not None)
    files = [path for path in paths if path.is_file() or not path.exists()]  # neither pipes nor devices
    if resume and not files:
        raise UsageError("--resume goes on from the file beside the results: name them, as -o json=results.json")
    if not files:
        yield None
        return
    memory = _beside(files[0], scenario)
    if resume:
        memory.resume()
    finished = False
    try:
        yield memory
        finished = not memory.interrupted
    finally:
        memory.close(finished=finished)
        if memory.failure is not None:
            say(f"simctl: warning: {memory.failure}")


def _beside(results: Path, scenario: Sequence[Any]) -> Kept:
    text = json.dumps([simctl_version(), *scenario], sort_keys=True)
    return Kept(results.with_name(results.name + SUFFIX), hashlib.sha256(text.encode()).hexdigest())


def of_study(study: Study) -> list[Any]:
    """What the runs of a study depend on."""
    rows = [repr((row.variant, row.deployment.options if row.deployment else None)) for row in study.rows]
    words = (getattr(study.flags, field.name) for field in fields(study.flags))
    return [encode(scenario_table(study)), rows, digests(words)]


def _lines(path: Path) -> list[Any]:
    """The lines that are whole; the last one may have been cut off."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return []
    except (OSError, UnicodeDecodeError) as error:
        raise BadScenario(f"{path} cannot be read: {error}; leave out --resume to start over") from None
    lines = []
    for line in text.splitlines():
        try:
            lines.append(json.loads(line))
        except ValueError:
            break
    return lines


def _encoded(measured: PointMetrics) -> dict[str, Any]:
    fields: dict[str, Any] = encode(measured)
    return fields | {"outcomes": {end.value: count for end, count in measured.outcomes.items()}}


def _decoded(raw: dict[str, Any]) -> PointMetrics:
    found = decode(PointMetrics, raw, "kept run")
    named: dict[str, int] = raw["outcomes"]
    return replace(found, outcomes={End(name): count for name, count in named.items()})
