"""The page is one file that holds every number of the results, and nothing that a name could smuggle in."""

import base64
import gzip
import json
import re
import shlex
from dataclasses import replace
from html import escape
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from plotly.offline import get_plotlyjs

from reports.document import Document, to_json
from reports.markup import Html, element, with_options
from reports.page import content, page, title
from reports.schema import encode
from reports.sections import points, repeat
from reports.tables import flat
from tests.sample_results import EMPTY, LARGE, cliff, point, results, variant
from tests.test_document import documents

MEGABYTE = 1_000_000


class Elements(HTMLParser):
    """Every element of a page with its attributes and the text right inside it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.inside: list[str] = []
        self.texts: list[tuple[str, str]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """One more element, open until it is closed."""
        self.found.append((tag, dict(attrs)))
        if tag not in {"meta", "link", "br"}:
            self.inside.append(tag)

    def handle_endtag(self, tag: str) -> None:
        """The element that was opened last, or the markup is wrong."""
        assert self.inside.pop() == tag

    def handle_data(self, data: str) -> None:
        """Text belongs to the element around it."""
        if self.inside:
            self.texts.append((self.inside[-1], data))

    def numbers(self) -> list[tuple[str, str | None, Any, Any]]:
        """Field, variant, load and value of all that says where in the results it stands."""
        return [
            (
                field,
                at.get("data-variant"),
                json.loads(at.get("data-load") or "null"),
                json.loads(at["data-value"] or ""),
            )
            for _, at in self.found
            if (field := at.get("data-field"))
        ]


def numbers(document: Document) -> list[tuple[str, str | None, Any, Any]]:
    return Elements(content(document)).numbers()


# -- numbers


def test_every_number_of_the_page_is_the_one_of_the_results() -> None:
    document = results()
    stands: dict[tuple[str, str | None, Any], Any] = {
        **{(name, at.variant, at.users): value for at in document.points for name, value in flat(encode(at)).items()},
        **{
            (f"cliff.{name}", at.variant, None): value
            for at in document.cliffs
            for name, value in flat(encode(at)).items()
        },
        ("variant.missing_gib", "vllm-70b", None): 95.2,
    }
    shown = numbers(document)
    assert len(shown) > 8 * len(points.COLUMNS)
    assert [at for at in shown if stands[at[:3]] != at[3]] == []


@pytest.mark.parametrize("column", points.COLUMNS, ids=lambda column: column.field)
def test_every_load_of_every_variant_has_the_column(column: points.Column) -> None:
    document = results()
    shown = {(name, load) for field, name, load, _ in numbers(document) if field == column.field}
    assert shown == {(at.variant, at.users) for at in document.points}


def test_the_text_of_a_number_is_its_value_rounded() -> None:
    row = re.search(r'<tr><th [^>]*data-load="2">2</th>.*?</tr>', content(results()))
    assert row is not None
    assert '<td data-field="ttft_ms.p99" data-value="1000.0"' in row[0]
    assert ">1000 ms</td>" in row[0]


def test_the_capacity_of_every_variant_is_in_its_verdict() -> None:
    shown = {(name, value) for field, name, _, value in numbers(results()) if field == "cliff.capacity_users"}
    assert shown == {("ollama", 2), ("vllm", 4)}


@given(st.text("-ab <&'", max_size=30))
def test_options_are_kept_whole_and_nothing_else_is_touched(text: str) -> None:
    marked = with_options(text)
    whole = re.findall('<span class="option">(.*?)</span>', marked)
    assert re.sub("</?span[^>]*>", "", marked) == escape(text)
    assert "".join(whole) == "".join(re.findall("--[a-z][a-z-]*", text))


def test_latencies_past_the_stability_limit_are_not_told() -> None:
    document = results(points=(point("vllm", 2, status="unstable"),))
    fields = [field for field, *_ in numbers(document)]
    assert "output_tps.value" in fields
    assert not [field for field in fields if field.startswith(("ttft_ms", "tpot_ms", "itl_ms", "e2e_ms"))]
    assert "<td>unstable</td>" in content(document)


def test_a_percentile_that_few_samples_stand_behind_is_marked() -> None:
    """Until ten samples lie beyond a p99."""
    for samples in (300, 999, 1000):
        few = replace(point("vllm", 1).ttft_ms, samples=samples)
        row = content(results(points=(point("vllm", 1, ttft_ms=few),)))
        assert (">~600 ms</td>" in row) == (samples < 1000)
        assert ">~450 ms</td>" not in row


def test_the_rows_at_the_capacity_and_beyond_are_marked() -> None:
    marked = re.findall(r'<tr class="(\w+)"><th data-field="users" data-value="(\d)"', content(results()))
    assert marked == [("carried", "2"), ("failing", "4"), ("carried", "4"), ("failing", "8")]


# -- words


def test_an_open_loop_has_a_rate_instead_of_users() -> None:
    at = replace(point("vllm", 1), users=None, rate=2.5, load="poisson")
    rate = cliff("vllm", status="none", capacity_users=None, first_failing_users=None, stability_rate=2.5, cliff=None)
    text = content(results(points=(at,), cliffs=(rate,)))
    assert '<strong data-field="cliff.stability_rate" data-value="2.5" data-variant="vllm">2.5</strong>' in text
    assert "requests per second kept up with" in text


def test_what_does_not_fit_says_how_much_is_missing() -> None:
    text = content(results())
    assert '<p class="big">does not fit</p>' in text
    assert "95.2 GiB missing" in text


def test_warnings_advice_definitions_and_origin_are_on_the_page() -> None:
    text = content(results())
    for words in (
        "blocks are an estimate",
        "keep 20% headroom",
        "first token - arrival",
        "NVIDIA A100",
        "interpolated",
    ):
        assert words in text


def test_where_nothing_is_carried_words_are_enough() -> None:
    text = content(results(cliffs=(cliff("vllm", status="none", capacity_users=0, low=None, high=None),)))
    assert 'id="capacity"' not in text
    assert '<strong data-field="cliff.capacity_users" data-value="0" data-variant="vllm">0</strong>' in text


def test_advice_to_type_something_shows_what_to_type() -> None:
    text = content(results(advice=("run `a < b` for ten minutes",)))
    assert "<li>run <code>a &lt; b</code> for ten minutes</li>" in text


def test_the_headline_names_the_variant_that_carries_most() -> None:
    headline = re.search(r'<p class="headline">(.*?)</p>', content(results()))
    assert headline is not None
    assert re.sub(r"<.*?>", "", headline[1]) == (
        "vllm carries 4 users at once (about 21 people), 2.0 × as many as ollama with 2."
    )


def test_the_title_has_the_name_of_the_card() -> None:
    assert title(results()) == "How many users does one NVIDIA A100 carry?"
    assert title(results(scenario={"gpu": "h100", "gpus": 4})) == "How many users do 4 × h100 carry?"


def test_the_command_repeats_the_scenario() -> None:
    words = shlex.split(repeat.command(results()).replace("\\\n", " "))
    assert words[:2] == ["simctl", "sweep"]
    told = list(zip(words[2::2], words[3::2], strict=True))
    assert told[:2] == [("--gpu", "a100-40g-sxm"), ("--gpus", "1")]
    assert [value for name, value in told if name == "--engine"] == ["ollama", "vllm"]
    assert "--vram" not in words


def test_a_value_of_the_command_is_one_word_of_the_shell() -> None:
    text = repeat.command(replace(EMPTY, scenario={"gpu": "a; rm -rf x", "enforce-eager": True}))
    assert shlex.split(text.replace("\\\n", " ")) == [
        "simctl",
        "sweep",
        "--gpu",
        "a; rm -rf x",
        "--enforce-eager",
        "true",
    ]


# -- what is not there


def test_sections_without_anything_to_show_are_left_out() -> None:
    sections = re.findall(r'<section id="(\w+)">', content(results(details=(), sensitivity=())))
    assert sections == ["verdict", "curves", "breakdown", "memory", "points", "trust", "definitions", "repeat"]
    assert re.findall(r'<section id="(\w+)">', content(EMPTY)) == ["repeat"]


@pytest.mark.parametrize(
    "document",
    [
        EMPTY,
        results(variants=(LARGE,), points=(), cliffs=(), details=(), sensitivity=()),
        results(cliffs=()),
        results(cliffs=(cliff("vllm", status="none", capacity_users=None, low=None, high=None, people=None),)),
        results(scenario={}, provenance={}, metric_definitions={}),
    ],
    ids=["empty", "nothing fits", "no cliffs", "no capacity", "no scenario"],
)
def test_a_page_is_made_of_whatever_there_is(document: Document) -> None:
    assert Elements(content(document)).inside == []


def linked(document: Document) -> Document:
    """Points and cliffs of the document's own variants: hypothesis would hardly meet the same name twice."""
    rows = tuple(replace(row, id=f"{row.id}{place}") for place, row in enumerate(document.variants))
    if not rows:
        return document
    found: dict[str, Any] = {
        name: tuple(replace(at, variant=rows[place % len(rows)].id) for place, at in enumerate(getattr(document, name)))
        for name in ("points", "cliffs", "sensitivity", "details")
    }
    return replace(document, variants=rows, **found)


@given(documents.map(linked))
def test_no_document_that_can_be_read_breaks_the_page(document: Document) -> None:
    assert Elements(content(document)).inside == []


# -- one file


def test_the_page_is_one_file_below_three_megabytes_with_plotly_once() -> None:
    text = page(results())
    assert len(text.encode()) < 3 * MEGABYTE
    (packed,) = re.findall(r'<script type="text/plain" id="plotly">([\w+/=]+)</script>', text)
    assert gzip.decompress(base64.b64decode(packed)).decode() == get_plotlyjs()
    loading = {"src", "srcset", "data", "action", "poster", "background"}
    for tag, attributes in Elements(text).found:
        assert not loading & attributes.keys(), (tag, attributes)
        assert (attributes.get("href") or "#").startswith(("#", "data:,")), (tag, attributes)


def test_the_page_carries_the_results_it_was_made_from() -> None:
    held = re.search(r'<script type="application/json" data-for="results">(.*?)</script>', page(results()), re.DOTALL)
    assert held is not None
    assert json.loads(held[1]) == to_json(results())


def test_the_same_results_make_the_same_page() -> None:
    assert page(results()) == page(results())


# -- names that are not meant well

HOSTILE = (
    '<script>alert("1")</script>',
    "</script><img src=x onerror=alert(1)>",
    '" onmouseover="alert(1)',
    "a & b <i>",
)


@pytest.mark.parametrize("name", HOSTILE)
def test_a_name_is_text_wherever_it_stands(name: str) -> None:
    document = results(
        variants=(variant(name), replace(LARGE, reason=name)),
        points=(point(name, 1), point(name, 2, load=name)),
        cliffs=(cliff(name, knob=name),),
        warnings=(name,),
        advice=(name,),
        scenario={"gpu": name, "model": name, name: name, "slo": name},
        provenance={name: name},
        sensitivity=(),
        details=(),
        simctl=name,
    )
    plain, hostile = Elements(page(results(details=(), sensitivity=()))), Elements(page(document))
    assert {tag for tag, _ in hostile.found} <= {tag for tag, _ in plain.found}
    assert not [at for _, at in hostile.found if any(key.startswith("on") for key in at)]
    assert name in {text for tag, text in hostile.texts if tag == "li"}


def test_text_is_escaped_on_its_way_into_an_element_and_markup_is_not() -> None:
    inner = element("b", "<&>")
    assert element("p", inner, '"', title='"<', hidden=True, lang=None) == Html(
        '<p title="&quot;&lt;" hidden><b>&lt;&amp;&gt;</b>&quot;</p>'
    )
