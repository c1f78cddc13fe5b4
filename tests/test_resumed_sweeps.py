"""Work that was cut off and goes on ends with the same bytes as if it had been left alone."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from sim.cli.input_files import digests
from sim.cli.keeping import SUFFIX, Kept
from sim.cli.main import cli
from sim.metrics import PointMetrics, summarise

ROOT = Path(__file__).resolve().parents[1]
SWEEP = "sweep --gpu a100-40g --engine vllm --max-num-seqs 4 --users 1..32 --requests 40 --seeds 2 --jobs 1 --quiet"
LENGTHS = " --prompt-tokens uniform:20,200 --output-tokens uniform:5,40"
SWEEP += f"{LENGTHS} --slo ttft=60ms"
COMPARE = SWEEP.replace("sweep", "compare").replace("--max-num-seqs 4", "--vary max-num-seqs=2,4")
PLAN = "plan --gpu a100-40g --gpu l40s --engine vllm --users 60 --requests 40 --seeds 2 --jobs 1 --quiet"
PLAN += f"{LENGTHS} --slo ttft=80ms"  # which several copies keep


def simctl(words: str, *more: str) -> Result:
    return CliRunner().invoke(cli, [*words.split(), *more], prog_name="simctl")


class Machine:
    """Counts the runs that are measured; after so many of them somebody presses Ctrl-C."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.runs = 0
        self.patience: int | None = None
        patch.setattr("sim.cli.study.summarise", self._measure)
        patch.setattr("sim.cli.planning.summarise", self._measure)

    def _measure(self, *arguments: Any, **named: Any) -> PointMetrics:
        if self.runs == self.patience:
            raise KeyboardInterrupt
        self.runs += 1
        return summarise(*arguments, **named)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(monkeypatch)


@pytest.mark.parametrize("words", [SWEEP, COMPARE, PLAN], ids=["sweep", "compare", "plan"])
@pytest.mark.parametrize("share", [0.1, 0.4, 0.7, 0.98])
def test_what_is_resumed_gives_the_same_bytes(machine: Machine, tmp_path: Path, words: str, share: float) -> None:
    """Cut off in the grid, around the cliff, among several copies, or while a knob is moved."""
    whole, parts = tmp_path / "whole.json", tmp_path / "parts.json"
    assert simctl(words, "-o", f"json={whole}").exit_code == 0
    runs, machine.runs = machine.runs, 0
    machine.patience = int(share * runs)
    assert simctl(words, "-o", f"json={parts}").exit_code == 130
    assert Path(f"{parts}{SUFFIX}").exists()
    machine.patience = None
    assert simctl(words, "-o", f"json={parts}", "--resume").exit_code == 0
    assert parts.read_bytes() == whole.read_bytes()
    assert machine.runs == runs, "what was done is not done again"
    assert {path.name for path in tmp_path.iterdir()} == {"whole.json", "parts.json"}


@pytest.mark.parametrize("words", [SWEEP, COMPARE, PLAN], ids=["sweep", "compare", "plan"])
def test_what_is_kept_changes_nothing(tmp_path: Path, words: str) -> None:
    """No run is taken for another one: not that of one copy for that of several."""
    place = tmp_path / "results.json"
    simctl(words, "-o", f"json={place}")
    assert simctl(words, "-o", "json").stdout == place.read_text(encoding="utf-8")


def cut_off(machine: Machine, place: Path, runs: int = 6) -> Path:
    """The file that is left beside the results of a sweep that was interrupted."""
    machine.patience = runs
    assert simctl(SWEEP, "-o", f"json={place}").exit_code == 130
    machine.patience, machine.runs = None, 0
    return Path(f"{place}{SUFFIX}")


def test_a_line_that_a_kill_cut_in_half_is_run_again(machine: Machine, tmp_path: Path) -> None:
    place = tmp_path / "results.json"
    simctl(SWEEP, "-o", f"json={place}")
    whole, all_runs = place.read_bytes(), machine.runs
    machine.runs = 0
    kept = cut_off(machine, place)
    kept.write_bytes(kept.read_bytes()[:-100])
    assert simctl(SWEEP, "-o", f"json={place}", "--resume").exit_code == 0
    assert machine.runs == all_runs - 5
    assert place.read_bytes() == whole


@pytest.mark.parametrize("words", [SWEEP, COMPARE, PLAN], ids=["sweep", "compare", "plan"])
def test_what_is_killed_is_resumed_to_the_same_bytes(tmp_path: Path, words: str) -> None:
    place, whole = tmp_path / "results.json", tmp_path / "whole.json"
    kept = Path(f"{place}{SUFFIX}")
    code = "from sim.cli.main import main; main()"
    running = subprocess.Popen([sys.executable, "-c", code, *words.split(), "-o", f"json={place}"], cwd=ROOT)
    while running.poll() is None and not (kept.exists() and len(kept.read_bytes().splitlines()) > 3):
        time.sleep(0.01)
    running.kill()
    assert running.wait() == -signal.SIGKILL
    assert not place.exists()
    assert simctl(words, "-o", f"json={place}", "--resume").exit_code == 0
    assert simctl(words, "-o", f"json={whole}").exit_code == 0
    assert place.read_bytes() == whole.read_bytes()


def test_without_resume_a_sweep_begins_anew(machine: Machine, tmp_path: Path) -> None:
    place = tmp_path / "results.json"
    simctl(SWEEP, "-o", f"json={place}")
    all_runs, machine.runs = machine.runs, 0
    cut_off(machine, place)
    simctl(SWEEP, "-o", f"json={place}")
    assert machine.runs == all_runs


@pytest.mark.parametrize("words", [f"{SWEEP} --seed 7", COMPARE, PLAN], ids=["sweep", "compare", "plan"])
def test_runs_of_another_scenario_are_refused(machine: Machine, tmp_path: Path, words: str) -> None:
    place = tmp_path / "results.json"
    cut_off(machine, place)
    done = simctl(words, "-o", f"json={place}", "--resume")
    assert done.exit_code == 3
    assert "holds runs of another scenario" in done.stderr
    assert "leave out --resume to start over" in done.stderr


@pytest.mark.parametrize("words", [SWEEP, COMPARE, PLAN], ids=["sweep", "compare", "plan"])
@pytest.mark.parametrize(("flag", "column"), [("--profile", ""), ("--prompt-tokens", ":prompt")])
def test_runs_of_an_input_file_that_changed_are_refused(
    machine: Machine, tmp_path: Path, words: str, flag: str, column: str
) -> None:
    place, name = tmp_path / "results.json", "lengths.csv" if column else "profile.json"
    profile = ROOT / "calibration" / "profiles" / "measured.json"
    own, content = tmp_path / name, "prompt\n90\n120\n" if column else profile.read_text(encoding="utf-8")
    own.write_text(content, encoding="utf-8")
    asked = (*(words.replace(LENGTHS, "").split()), "--output-tokens", "20", "--slo", "ttft=1s", flag, f"{own}{column}")
    machine.patience = 3
    assert simctl("", *asked, "-o", f"json={place}").exit_code == 130
    machine.patience = None
    own.write_text(content + "\n" if name == "profile.json" else content + "70\n", encoding="utf-8")
    done = simctl("", *asked, "-o", f"json={place}", "--resume")
    assert done.exit_code == 3
    assert "input files that have changed" in done.stderr
    own.write_text(content, encoding="utf-8")
    assert simctl("", *asked, "-o", f"json={place}", "--resume").exit_code == 0


def test_weights_of_many_gib_are_known_without_being_read_whole(tmp_path: Path) -> None:
    weights = tmp_path / "model.gguf"
    with weights.open("wb") as file:
        file.truncate(40 << 30)
    known = digests([str(weights), "a100-40g", None])
    assert set(known) == {str(weights)}
    with weights.open("r+b") as file:
        file.write(b"GGUF")
    assert digests([str(weights)]) != known


@pytest.mark.parametrize("content", [b"\xff\xfe", b'{"scenario": 1}\n', b"[]\n"])
def test_a_file_that_is_no_record_of_runs_is_refused_or_ignored(tmp_path: Path, content: bytes) -> None:
    place = tmp_path / "results.json"
    Path(f"{place}{SUFFIX}").write_bytes(content)
    done = simctl(SWEEP, "-o", f"json={place}", "--resume")
    assert done.exit_code == 3
    assert "leave out --resume" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("words", [SWEEP, COMPARE, PLAN], ids=["sweep", "compare", "plan"])
def test_resuming_needs_a_file_to_lie_beside(words: str) -> None:
    done = simctl(words, "--resume")
    assert done.exit_code == 2
    assert "name them, as -o json=results.json" in done.stderr


def test_resuming_what_was_never_begun_is_a_sweep(tmp_path: Path) -> None:
    place = tmp_path / "results.json"
    assert simctl(SWEEP, "-o", f"json={place}", "--resume").exit_code == 0
    assert json.loads(place.read_text(encoding="utf-8"))["points"]


def test_a_full_disk_stops_the_record_and_not_the_sweep(machine: Machine, tmp_path: Path) -> None:
    if not Path("/dev/full").is_char_device():
        pytest.skip("this system has no device that is always full")
    place = tmp_path / "results.json"
    Path(f"{place}{SUFFIX}").symlink_to("/dev/full")
    done = simctl(SWEEP.replace(" --quiet", ""), "-o", f"json={place}")
    assert done.exit_code == 0
    assert "cannot keep runs in" in done.stderr
    assert json.loads(place.read_text(encoding="utf-8"))["points"]


def test_a_measurement_is_kept_to_the_last_bit(machine: Machine, tmp_path: Path) -> None:
    kept = cut_off(machine, tmp_path / "results.json")
    scenario = json.loads(kept.read_text(encoding="utf-8").splitlines()[0])["scenario"]
    first, second = Kept(kept, scenario), Kept(tmp_path / "again", scenario)
    assert first.resume() == 6
    for line in kept.read_text(encoding="utf-8").splitlines()[1:]:
        name = json.loads(line)["run"]
        found = first.recall(name)
        assert found is not None
        second.keep(name, found)
    second.close(finished=False)
    assert (tmp_path / "again").read_bytes() == kept.read_bytes()
