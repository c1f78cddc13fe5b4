"""The published results: what is written can be read back, and the schema tells the truth about it."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reports import document
from reports.document import Document, Estimate, VariantRow, from_json, published_schema, to_json, to_text
from reports.schema import encode
from sim.errors import BadScenario

SCHEMA_FILE = Path(__file__).resolve().parents[1] / "docs" / "results.schema.json"

finite = st.floats(allow_nan=False, allow_infinity=False)
scalars = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | finite | st.text(max_size=5)
tables = st.dictionaries(st.text(max_size=5), scalars | st.lists(scalars, max_size=3), max_size=3)
st.register_type_strategy(float, finite)
rows = st.builds(VariantRow, options=tables)


def few(kind: type[Any]) -> st.SearchStrategy[Any]:
    return st.lists(st.from_type(kind), max_size=2).map(tuple)


documents = st.builds(
    Document,
    schema_version=st.just(document.SCHEMA_VERSION),
    scenario=tables,
    provenance=tables,
    variants=st.lists(rows, max_size=2).map(tuple),
    points=few(document.Point),
    cliffs=few(document.Cliff),
)

TYPES: dict[str, type | tuple[type, ...]] = {
    "array": list,
    "string": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
    "null": type(None),
}


def violations(value: Any, schema: dict[str, Any], root: dict[str, Any], where: str = "") -> list[str]:
    """Where a value breaks a schema, for the words of JSON Schema that ours uses."""
    match schema:
        case {"$ref": reference}:
            return violations(value, root["$defs"][reference.rpartition("/")[2]], root, where)
        case {"anyOf": options}:
            found = [violations(value, option, root, where) for option in options]
            return [] if [] in found else found[0]
        case {"enum": choices}:
            return [] if value in choices else [f"{where}: {value!r} is not in {choices}"]
        case {"type": "object"}:
            return object_violations(value, schema, root, where)
        case {"type": "array"} if isinstance(value, list):
            return [v for i, item in enumerate(value) for v in violations(item, schema["items"], root, f"{where}[{i}]")]
    return scalar_violations(value, schema.get("type"), where)


def scalar_violations(value: Any, name: str | None, where: str) -> list[str]:
    if name is None:
        return []
    right = isinstance(value, TYPES[name]) and (name == "boolean" or not isinstance(value, bool))
    return [] if right else [f"{where}: {value!r} is no {name}"]


def object_violations(value: Any, schema: dict[str, Any], root: dict[str, Any], where: str) -> list[str]:
    if not isinstance(value, dict):
        return [f"{where}: not an object"]
    properties, others = schema.get("properties", {}), schema.get("additionalProperties", {})
    found = [f"{where}: {name} is missing" for name in schema.get("required", []) if name not in value]
    for name, item in value.items():
        inner = properties.get(name, others)
        found += [f"{where}: {name} is unknown"] if inner is False else violations(item, inner, root, f"{where}.{name}")
    return found


def schema_violations(value: Any) -> list[str]:
    schema = json.loads(SCHEMA_FILE.read_text(encoding="utf-8"))
    return violations(value, schema, schema)


def test_the_published_schema_is_the_one_the_code_means() -> None:
    assert SCHEMA_FILE.read_text(encoding="utf-8") == published_schema()


@given(documents)
def test_a_document_survives_being_written_and_read(written: Document) -> None:
    assert from_json(json.loads(to_text(written))) == written


@given(documents)
def test_every_document_satisfies_the_published_schema(written: Document) -> None:
    assert schema_violations(json.loads(to_text(written))) == []


def test_the_schema_check_of_this_file_can_fail() -> None:
    assert schema_violations({"schema_version": "1"})
    empty = to_json(Document(1, "0", {}, {}, (), (), (), (), {}))
    assert schema_violations(empty) == []
    assert schema_violations({**empty, "extra": 1}) == [": extra is unknown"]
    assert schema_violations({**empty, "warnings": [1]}) == [".warnings[0]: 1 is no string"]


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_a_number_that_is_not_finite_is_written_as_null(number: float) -> None:
    assert encode(Estimate(number, 1.0, number)) == {"value": None, "low": 1.0, "high": None}


def test_a_steep_rise_is_written_from_and_to() -> None:
    assert encode(document.SteepRise(4, 8, 3.0)) == {"from": 4, "to": 8, "height": 3.0}


EMPTY = to_json(Document(1, "0", {}, {}, (), (), (), (), {}))


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        ([], "schema_version is None"),
        ({**EMPTY, "schema_version": 2}, "schema_version is 2, this simctl reads 1"),
        ({**EMPTY, "surprise": 1}, "field 'surprise' is unknown"),
        ({key: value for key, value in EMPTY.items() if key != "points"}, "field 'points' is missing"),
        ({**EMPTY, "points": [{}]}, r"results.points\[0\]: field"),
        ({**EMPTY, "points": {}}, "results.points: expected a list"),
        ({**EMPTY, "warnings": [True]}, r"results.warnings\[0\]: expected string, found True"),
    ],
)
def test_results_that_do_not_fit_the_model_are_refused_by_place(broken: Any, said: str) -> None:
    with pytest.raises(BadScenario, match=said):
        from_json(broken)
