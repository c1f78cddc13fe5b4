"""How many small wrong changes to the program the tests notice: `python -m tests.mutation [--module sim/core.py ...]`.

Each mutant is written into a copy of the tree and tested there by a fresh fork of this process, which has pytest and
the other packages loaded already. A mutant that runs out of time or memory counts as noticed. `docs/mutation.md`
tells the result and judges the survivors.
"""

import argparse
import contextlib
import fnmatch
import importlib
import multiprocessing
import os
import resource
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import hypothesis
import pytest

from tests.mutants import Mutant, mutants

ROOT = Path(__file__).resolve().parents[1]
LEFT_OUT = ("sim/cli/*", "*/__init__.py")  # the command line has tests of its own
SAMPLE = {"sim/replica.py": 30, "sim/core.py": 25, "sim/decoding.py": 20, "sim/cost.py": 15, "*/vllm_*.py": 20}
PRELOADED = ("click.testing", "hypothesis.stateful", "joblib", "numpy", "rich.console", "simpy", "unittest.mock")
MEMORY_BYTES = 8 << 30
PATIENCE = 4  # seconds that pass for one of computing; more is waiting for what does not come

KERNEL = "conformance client frontdoor strides"
KERNEL_WORDS = "(oracle or watermark or prefix) and not router or instant or middle or end_of or ahead"
SLOW = "not test_strides and not test_classic_schedulers"

# The first line that fits says which tests a module answers to, the quickest first, and which cases of the slow ones.
TESTS: tuple[tuple[str, str, str], ...] = (
    ("sim/replica.py", f"{KERNEL} metrics", KERNEL_WORDS),
    ("sim/core.py", KERNEL, KERNEL_WORDS),
    ("sim/decoding.py", KERNEL, KERNEL_WORDS),
    ("sim/batch.py", f"physics recordings {KERNEL}", "sarathi or oracle"),
    ("sim/scheduler.py", f"classic_schedulers {KERNEL}", f"leaves or {KERNEL_WORDS}"),
    ("sim/request.py", f"{KERNEL} metrics", KERNEL_WORDS),
    ("sim/clock.py", f"units {KERNEL}", KERNEL_WORDS),
    ("sim/cost.py", f"physics tablecost {KERNEL}", KERNEL_WORDS),
    ("sim/client.py", "client frontdoor", ""),
    ("sim/frontdoor.py", "frontdoor client", ""),
    ("sim/variant.py", "study_promises compose_promises tuning sweep", ""),
    ("sim/sweep.py", "study_promises sweep capacity_truths resumed_sweeps", ""),
    ("sim/capacity.py", "sweep capacity_truths causes", ""),
    ("sim/judging.py", "study_promises sweep", ""),
    ("sim/runner.py", "study_promises sweep resumed_sweeps", ""),
    ("sim/stability.py", "study_promises explanations", ""),
    ("sim/steepness.py", "study_promises explanations", ""),
    ("sim/slowed.py", "study_promises explanations", ""),
    ("sim/paired.py", "study_promises compare", ""),
    ("sim/waits.py", "waits cause_promises causes explanations", ""),
    ("sim/blame.py", "waits cause_promises causes explanations", ""),
    ("sim/cause.py", "waits cause_promises causes explanations", ""),
    ("sim/notes.py", f"{KERNEL} metrics", KERNEL_WORDS),
    ("sim/slo.py", "compose_promises metrics document", ""),
    ("sim/naming.py", "naming catalogue", ""),
    ("sim/compose/demands.py", "compose_promises trace sweep tuning explanations", ""),
    ("sim/compose/step_times.py", "compose_promises explanations", ""),
    ("sim/compose/runs.py", "compose_promises python sweep explanations", ""),
    ("sim/compose/*.py", "compose_promises own_files sweep tuning", ""),
    ("sim/definitions.py", "document metrics", ""),
    ("sim/hardware.py", "units catalogue physics vllm_engine ollama_engine", ""),
    ("sim/engine.py", "vllm_engine ollama_engine frontdoor", ""),
    ("sim/errors.py", "catalogue vllm_engine tuning", ""),
    ("sim/router.py", "frontdoor strides", "middle or instant"),
    ("sim/simulate.py", "client frontdoor cause_promises metrics sweep strides", KERNEL_WORDS),
    ("sim/scenario.py", "client frontdoor metrics sweep", ""),
    ("sim/workload.py", "arrivals client frontdoor sweep", ""),
    ("sim/prediction.py", "policy_promises classic_schedulers", "predict or sjf"),
    ("sim/journal.py", "document metrics", ""),
    ("sim/percentiles.py", "study_promises metrics", ""),
    ("sim/*.py", "document metrics tuning sweep", ""),
    ("policies/engines/releases.py", "vllm_engine ollama_engine llama_engine compose_promises", ""),
    ("policies/engines/vllm*.py", "vllm_engine vllm_groups settings_promises", ""),
    ("policies/engines/ollama_estimate.py", "ollama_estimate ollama_engine", ""),
    ("policies/engines/ollama*.py", "ollama_engine ollama_estimate settings_promises", ""),
    ("policies/engines/llama*.py", "llama_engine settings_promises", ""),
    (
        "policies/engines/gguf*.py",
        "windows_and_experts llama_engine ollama_engine ollama_estimate settings_promises",
        "",
    ),
    ("policies/engines/option_table.py", "option_table vllm_engine", ""),
    ("policies/routers/*.py", "frontdoor strides", "middle or instant"),
    ("policies/caches/prefix.py", "conformance paged_caches strides", "prefix"),
    ("policies/caches/*paged.py", "conformance paged_caches strides", "vllm_v1"),
    ("policies/caches/content.py", "conformance llama_slots paged_caches slot_caches", ""),
    (
        "policies/caches/reserved.py",
        "reserved_cache slot_caches classic_schedulers strides",
        "orca or reserv or waste or apart",
    ),
    ("policies/caches/remembered.py", "conformance paged_caches windowed_caches", ""),
    ("policies/caches/windowed*.py", "conformance vllm_groups windowed_caches", ""),
    ("policies/caches/group*.py", "conformance vllm_groups windowed_caches", ""),
    ("policies/caches/*.py", "pass_promises slot_caches ollama_cells llama_slots ollama_runner", ""),
    ("policies/schedulers/vllm*.py", "conformance vllm_engine strides", "vllm_v1 or async"),
    ("policies/schedulers/option_checks.py", "compose_promises policy_promises", ""),
    ("policies/schedulers/llama_runner.py", "ollama_runner", ""),
    ("policies/schedulers/slot_*.py", "llama_slots ollama_runner", ""),
    ("policies/schedulers/ollama*.py", "ollama_engine ollama_runner", ""),
    ("policies/schedulers/ubatches.py", "llama_ubatches llama_slots recordings ollama_runner", ""),
    (
        "policies/schedulers/llama*.py",
        "pass_promises llama_ubatches llama_slots slot_caches recordings recorded_loops",
        "",
    ),
    ("policies/schedulers/prompt_cache.py", "llama_slots llama_engine recorded_loops", ""),
    ("policies/schedulers/fcfs.py", "classic_schedulers strides", "fcfs or one_after or less_than"),
    ("policies/schedulers/sjf.py", "classic_schedulers strides", "sjf or predict or short or option or reads"),
    (
        "policies/schedulers/static_batch.py",
        "classic_schedulers strides",
        "static or batch or padded or finished or waste",
    ),
    (
        "policies/schedulers/sarathi.py",
        "classic_schedulers strides",
        "sarathi or chunk or decode or gives_way or prompt",
    ),
    ("policies/schedulers/*.py", "classic_schedulers strides", "orca or reserv or outgrows or option or reads"),
)


class Suite(NamedTuple):
    """The tests that a module answers to."""

    paths: list[str]
    words: str  # which of their cases, in pytest's language


def suite_of(tree: Path, module: str) -> Suite:
    """The test files that a module answers to, those of them that exist."""
    names, words = next((names, words) for pattern, names, words in TESTS if fnmatch.fnmatch(module, pattern))
    paths = [
        f"tests/test_{name}.py" for name in ("kernel_promises", *names.split(), "policy_promises", "engine_promises")
    ]
    return Suite([path for path in paths if (tree / path).exists()], f"{SLOW} or {words}" if words else "")


def modules(patterns: Iterable[str]) -> Iterator[str]:
    """The modules asked for, by path or pattern."""
    found = (path.relative_to(ROOT).as_posix() for room in ("sim", "policies") for path in (ROOT / room).rglob("*.py"))
    for module in sorted(found):
        if fits_any(module, patterns) and not fits_any(module, LEFT_OUT):
            yield module


def fits_any(module: str, patterns: Iterable[str]) -> bool:
    return any(fnmatch.fnmatch(module, pattern) for pattern in patterns)


def copied_tree(folder: Path) -> Path:
    """A copy of the tree for mutants to live in."""
    hidden = shutil.ignore_patterns(".*", "__pycache__", "dist", "build")
    return Path(shutil.copytree(ROOT, folder / "tree", ignore=hidden))


def run_tests(tree: Path, suite: Suite, cpu_seconds: int) -> None:
    """In a fork: run the tests as a fresh process in that tree would."""
    os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where the shell runs this in the background
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_seconds, cpu_seconds))  # others may keep the machine busy
    os.chdir(tree)
    for name in [name for name in sys.modules if name.partition(".")[0] in ("tests", "sim", "policies")]:
        del sys.modules[name]
    sys.path[0] = os.environ["PYTHONPATH"] = str(tree)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    hypothesis.settings.register_profile(
        "mutation",
        max_examples=30,
        deadline=None,
        derandomize=True,
        phases=[hypothesis.Phase.explicit, hypothesis.Phase.generate],  # a failure need not be made small
        suppress_health_check=[hypothesis.HealthCheck.too_slow],
    )
    options = ["-x", "-q", "-p", "no:cacheprovider", "-W", "ignore::pytest.PytestAssertRewriteWarning"]
    os._exit(pytest.main([*options, "--hypothesis-profile=mutation", "-k", suite.words, *suite.paths]))


def passes(tree: Path, suite: Suite, cpu_seconds: int) -> bool:
    """Whether the tests find nothing wrong in the tree."""
    fork = multiprocessing.get_context("fork").Process(target=run_tests, args=(tree, suite, cpu_seconds))
    fork.start()
    fork.join(PATIENCE * cpu_seconds)
    with contextlib.suppress(ProcessLookupError):  # it leads a group of its own: helpers of the tests go with it
        os.killpg(fork.pid or 0, signal.SIGKILL)
    fork.join()
    return fork.exitcode == 0


def cpu_spent() -> float:
    """Seconds that finished forks have computed for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def survivors(tree: Path, module: str, chosen: list[Mutant], cpu_seconds: int) -> Iterator[Mutant]:
    """The mutants of a module that its tests let pass."""
    path, suite = tree / module, suite_of(tree, module)
    right = read(path)
    sys.dont_write_bytecode = True  # a mutant's bytecode must not outlive it
    shutil.rmtree(path.parent / "__pycache__", ignore_errors=True)
    for mutant in chosen:
        path.write_text(mutant.source, encoding="utf-8")
        if passes(tree, suite, cpu_seconds):
            yield mutant
    path.write_text(right, encoding="utf-8")


def sample_of(module: str, asked: int | None) -> int:
    """How many mutants of a module are tried: more of those that everything stands on."""
    return asked or next((number for pattern, number in SAMPLE.items() if fnmatch.fnmatch(module, pattern)), 10)


def read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


class Score(NamedTuple):
    """Of how many mutants the tests noticed how many."""

    noticed: int
    tried: int

    def __str__(self) -> str:
        return f"{self.noticed} of {self.tried} noticed"


def examined(tree: Path, module: str, asked: argparse.Namespace) -> Score:
    """Try a few mutants of a module and print those that nobody notices."""
    chosen = mutants(read(tree / module), sample_of(module, asked.sample), f"{asked.seed} {module}")
    if not chosen:
        return Score(0, 0)
    before = cpu_spent()
    if not passes(tree, suite_of(tree, module), asked.seconds_each):
        print(f"{module}: its tests fail or take too long without a mutant", flush=True)
        return Score(0, 0)
    patience = min(asked.seconds_each, 4 + round(2 * (cpu_spent() - before)))
    noticed = len(chosen)
    for mutant in survivors(tree, module, chosen, patience):
        noticed -= 1
        print(f"    {module}:{mutant.line}: {mutant.change}", flush=True)
    score = Score(noticed, len(chosen))
    print(f"{module}: {score}", flush=True)
    return score


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--module", action="append", help="path or pattern, may be repeated")
    parser.add_argument("--sample", type=int, help="mutants a module")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds-each", type=int, default=60, help="of computing, at most")
    asked = parser.parse_args()
    for name in PRELOADED:
        importlib.import_module(name)
    with tempfile.TemporaryDirectory() as folder:
        tree = copied_tree(Path(folder))
        scores = [examined(tree, module, asked) for module in modules(asked.module or ["*"])]
    total = Score(sum(score.noticed for score in scores), sum(score.tried for score in scores))
    print(f"{total}: {total.noticed / max(1, total.tried):.1%}")


if __name__ == "__main__":
    main()
