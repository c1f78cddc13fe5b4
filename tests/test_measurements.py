"""The committed measurements: every row readable, with a source, a known licence and names that mean something."""

import csv
import re
import tomllib
from collections import Counter
from dataclasses import fields
from importlib.resources import files
from pathlib import Path

import pytest

from calibration import catalog, sources
from calibration.points import ENGINES, LOADS, Point
from sim.errors import SimctlError, UnknownName

NOTICE = Path(__file__).parent.parent / "NOTICE"
FOLDER = files("calibration").joinpath("measurements")
EVERY = list(sources.sources())
MEASURED = [field.name for field in fields(Point) if field.name == "output_tps" or "_ms_" in field.name]
NO_LICENCE = "none"  # only reduced figures of such a source may be held
NOTED_LICENCES = {"MIT", "Apache-2.0", "BSD-3-Clause", NO_LICENCE}
MACHINE_PATH = re.compile(r"(^|[\s\"'=,;(])/(home|Users|tmp|work|root|mnt|data)/|[A-Z]:\\\\")
LARGEST_BYTES = 1_500_000


def known(kind: str, name: str) -> bool:
    look_up = catalog.gpu if kind == "gpu" else catalog.model
    try:
        look_up(name)
    except UnknownName:
        return False
    return True


@pytest.mark.parametrize("source_id", EVERY)
def test_every_row_of_a_source_can_be_read_and_measures_something(source_id: str) -> None:
    points = sources.load(source_id)
    assert points
    for point in points:
        assert point.source_id == source_id
        assert point.engine in ENGINES
        assert point.load in LOADS
        assert point.load_value > 0
        assert any(getattr(point, name) for name in MEASURED), point


@pytest.mark.parametrize("source_id", EVERY)
def test_the_columns_are_those_of_the_points_table(source_id: str) -> None:
    text = FOLDER.joinpath("points", f"{source_id}.csv").read_text(encoding="utf-8")
    header = next(csv.reader(text.splitlines()))
    assert sorted(header) == sorted(field.name for field in fields(Point))


def test_every_file_has_a_source_and_every_source_a_file() -> None:
    held = {path.name.removesuffix(".csv") for path in FOLDER.joinpath("points").iterdir()}
    assert held == set(EVERY)


@pytest.mark.parametrize("source_id", EVERY)
def test_a_source_says_where_it_is_and_under_which_licence(source_id: str) -> None:
    source = sources.sources()[source_id]
    assert source.repo or source.url
    assert source.licence in NOTED_LICENCES
    assert source.trust in {"A", "B", "C"}
    assert source.caveats
    assert all(source.caveats)


@pytest.mark.parametrize("source_id", EVERY)
def test_gpus_and_models_are_in_the_catalogue_or_listed_as_missing(source_id: str) -> None:
    missing = {*sources.sources()[source_id].not_in_catalogue, "unstated"}
    points = sources.load(source_id)
    gpus, models = {point.gpu for point in points}, {point.model for point in points}
    assert [name for name in gpus - missing if not known("gpu", name)] == []
    assert [name for name in models - missing if not known("model", name)] == []
    assert missing - {"unstated"} <= gpus | models


@pytest.mark.parametrize("source_id", [name for name in EVERY if sources.sources()[name].licence == NO_LICENCE])
def test_a_source_without_a_licence_gives_one_reduced_figure_a_set_up(source_id: str) -> None:
    assert any(caveat.startswith("reduced: ") for caveat in sources.sources()[source_id].caveats)
    setups = Counter(_setup(point) for point in sources.load(source_id))
    assert [setup for setup, rows in setups.items() if rows > 1] == []


def _setup(point: Point) -> tuple[object, ...]:
    memory = (point.gpu, point.gpu_count, point.slots, point.kv_gib)
    lengths = (point.prompt_tokens, point.output_tokens, point.depth_tokens)
    return (point.engine, point.model, point.weights, point.load, point.load_value, *memory, *lengths)


def test_licences_that_ask_for_it_are_named_in_the_notice() -> None:
    notice = NOTICE.read_text(encoding="utf-8")
    for source in sources.sources().values():
        if source.licence != NO_LICENCE:
            for repo in source.repo.split(", "):
                assert repo in notice


def test_no_file_names_a_path_of_a_machine() -> None:
    for path in _files():
        assert not MACHINE_PATH.search(path[1]), path[0]


def test_all_together_they_stay_small() -> None:
    assert sum(len(text) for _, text in _files()) < LARGEST_BYTES


def _files() -> list[tuple[str, str]]:
    folders = [FOLDER, FOLDER.joinpath("points"), *FOLDER.joinpath("runs").iterdir()]
    paths = [path for folder in folders for path in folder.iterdir() if path.is_file()]
    return [(path.name, path.read_text(encoding="utf-8")) for path in paths]


@pytest.mark.parametrize("run", sorted(folder.name for folder in FOLDER.joinpath("runs").iterdir()))
def test_the_requests_of_a_run_add_up_to_its_row(run: str) -> None:
    about = tomllib.loads(FOLDER.joinpath("runs", run, "about.toml").read_text(encoding="utf-8"))
    which = (about["gpu"], about["model"])
    row = next(point for point in sources.load(about["source_id"]) if (point.gpu, point.model) == which)
    text = FOLDER.joinpath("runs", run, "requests.csv").read_text(encoding="utf-8")
    requests = list(csv.DictReader(text.splitlines()))
    assert len(requests) == 300
    for column, stated in (("ttft_ms", row.ttft_ms_mean), ("tpot_ms", row.tpot_ms_mean), ("e2e_ms", row.e2e_ms_mean)):
        mean = sum(float(request[column]) for request in requests) / len(requests)
        assert mean == pytest.approx(stated, rel=1e-3)


def test_a_run_states_the_server_that_it_was() -> None:
    for folder in FOLDER.joinpath("runs").iterdir():
        about = tomllib.loads(folder.joinpath("about.toml").read_text(encoding="utf-8"))
        assert {"source_id", "gpu", "model", "weights", "engine_version", "slots"} <= about.keys()
        assert about["source_id"] in EVERY


def test_a_source_that_nobody_knows_is_refused_with_the_nearest() -> None:
    with pytest.raises(SimctlError, match="argonne"):
        sources.load("argone")


def test_the_page_counts_the_rows_that_are_there() -> None:
    page = FOLDER.joinpath("README.md").read_text(encoding="utf-8")
    for source_id in EVERY:
        assert f"| {source_id} | {len(sources.load(source_id))} |" in page
    assert f"({len(sources.all_points())} rows)" in page


@pytest.mark.parametrize("source_id", EVERY)
def test_weight_formats_are_known_wherever_the_model_is(source_id: str) -> None:
    missing = set(sources.sources()[source_id].not_in_catalogue)
    for point in sources.load(source_id):
        if point.weights and point.model not in missing and known("model", point.model):
            assert catalog.weight_bits(catalog.model(point.model), point.weights) > 1
