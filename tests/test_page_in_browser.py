"""The page in a real browser that reaches nothing: no error, every figure drawn, the numbers those of the results."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from reports.document import Document, to_json
from reports.page import page
from tests.sample_results import EMPTY, results

pytestmark = pytest.mark.browser

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
QUIET = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update")
PATIENCE_MS = 60_000
PHONE_PX, DESK_PX = 390, 1280


@dataclass
class Opened:
    """A page that has drawn itself, and what the browser had to say meanwhile."""

    tab: Any
    complaints: list[str] = field(default_factory=list)

    def ask(self, script: str) -> Any:
        """The value of a JavaScript expression on the page."""
        return self.tab.evaluate(script)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """A headless browser; whoever asks for these tests needs one."""
    from playwright.sync_api import sync_playwright

    found = next(filter(None, map(shutil.which, NAMES)), None)
    assert found, "no Chromium on the PATH: install one, as `apt-get install chromium`"
    with sync_playwright() as player:
        browser = player.chromium.launch(executable_path=found, args=list(QUIET))
        yield browser
        browser.close()


def opened(chromium: Any, folder: Path, document: Document, *, width: int = DESK_PX, scheme: str = "light") -> Opened:
    """The page of a document, drawn."""
    path = folder / "page.html"
    path.write_text(page(document), encoding="utf-8")
    context = chromium.new_context(
        viewport={"width": width, "height": 900}, color_scheme=scheme, offline=True, has_touch=width == PHONE_PX
    )
    it = Opened(context.new_page())
    it.tab.on("console", lambda message: it.complaints.append(f"{message.type}: {message.text}"))
    it.tab.on("pageerror", lambda error: it.complaints.append(str(error)))
    it.tab.on(
        "request", lambda asked: None if asked.url.startswith(("file:", "data:", "blob:")) else _outside(it, asked)
    )
    it.tab.goto(path.as_uri())
    it.tab.wait_for_selector("html[data-drawn]", state="attached", timeout=PATIENCE_MS)
    return it


def _outside(it: Opened, asked: Any) -> None:
    it.complaints.append(f"asked for {asked.url}")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [PHONE_PX, DESK_PX])
@pytest.mark.parametrize("document", [results(), EMPTY], ids=["results", "empty"])
def test_the_page_draws_every_figure_and_complains_of_nothing(
    chromium: Any, tmp_path: Path, document: Document, width: int, scheme: str
) -> None:
    it = opened(chromium, tmp_path, document, width=width, scheme=scheme)
    boxes = it.ask("document.querySelectorAll('.plot').length")
    assert boxes == (15 if document.points else 0)
    assert it.ask("document.documentElement.dataset.drawn") == str(boxes)
    assert (
        it.ask("[...document.querySelectorAll('.plot')].filter(box => !box.querySelector('svg.main-svg')).length") == 0
    )
    assert it.ask("document.documentElement.scrollWidth") <= width
    assert it.complaints == []


def test_every_figure_that_is_seen_has_a_size_and_marks(chromium: Any, tmp_path: Path) -> None:
    it = opened(chromium, tmp_path, results(), width=PHONE_PX)
    seen = it.ask(
        """[...document.querySelectorAll('.panel:not([hidden]) .plot')].map(box => [
            box.id, box.getBoundingClientRect().width, box.getBoundingClientRect().height,
            box.querySelectorAll('.plot-container path.point, .plot-container .point path, .js-line').length])"""
    )
    assert len(seen) == 14
    for name, width, height, marks in seen:
        assert PHONE_PX / 2 < width <= PHONE_PX, name
        assert height > 100, name
        assert marks, name


def test_the_numbers_that_the_browser_shows_are_those_of_the_results(chromium: Any, tmp_path: Path) -> None:
    document = results()
    it = opened(chromium, tmp_path, document)
    shown = it.ask(
        "[...document.querySelectorAll('td[data-field]')].map(cell => "
        "[cell.dataset.variant, Number(cell.dataset.load), cell.dataset.field, JSON.parse(cell.dataset.value)])"
    )
    points = {(at["variant"], at["users"]): at for at in to_json(document)["points"]}
    assert len(shown) > 100
    for variant, users, path, value in shown:
        expected: Any = points[variant, users]
        for key in path.split("."):
            expected = expected[key]
        assert value == expected, (variant, users, path)


def test_the_curves_that_plotly_drew_are_those_of_the_results(chromium: Any, tmp_path: Path) -> None:
    document = results()
    it = opened(chromium, tmp_path, document)
    drawn = it.ask(
        "document.getElementById('curve-throughput').data.filter(trace => trace.meta.curve === 'output_tps')"
        ".map(trace => [trace.meta.variant, trace.x, trace.y])"
    )
    expected = [
        [
            name,
            *map(
                list, zip(*((p.users, p.output_tps.value) for p in document.points if p.variant == name), strict=True)
            ),
        ]
        for name in ("ollama", "vllm")
    ]
    assert drawn == expected


def test_light_and_dark_follow_the_system_until_the_reader_chooses(chromium: Any, tmp_path: Path) -> None:
    ink = "getComputedStyle(document.body).color"
    label = "document.getElementById('capacity').layout.font.color"
    light, dark = (opened(chromium, tmp_path, results(), scheme=scheme) for scheme in ("light", "dark"))
    assert light.ask(ink) != dark.ask(ink)
    assert light.ask(label) != dark.ask(label)
    light.tab.click("#theme")
    light.tab.wait_for_function(f"{label} === '{dark.ask(label)}'")
    assert light.ask(ink) == dark.ask(ink)


def test_a_variant_is_hidden_in_every_curve_and_comes_back(chromium: Any, tmp_path: Path) -> None:
    it = opened(chromium, tmp_path, results())
    seen = "document.getElementById('curve-{}').data.filter(t => t.visible !== false).map(t => t.meta.variant)"
    it.tab.click(".chips button[data-variant=vllm]")
    for figure in ("ttft", "throughput", "slo"):
        it.tab.wait_for_function(f"!{seen.format(figure)}.includes('vllm')")
        assert "ollama" in it.ask(seen.format(figure))
    it.tab.click(".chips button[data-variant=vllm]")
    it.tab.wait_for_function(f"{seen.format('ttft')}.includes('vllm')")


def test_one_waterfall_is_shown_at_a_time(chromium: Any, tmp_path: Path) -> None:
    it = opened(chromium, tmp_path, results())
    shown = "[...document.querySelectorAll('.chosen .panel:not([hidden]) .plot')].map(plot => plot.id)"
    assert it.ask(shown) == ["waterfall-0"]
    it.tab.select_option("#waterfall-choice", "waterfall-1")
    assert it.ask(shown) == ["waterfall-1"]
    assert it.ask("document.getElementById('waterfall-1').getBoundingClientRect().width") > 400


def test_hovering_tells_a_value_with_its_unit(chromium: Any, tmp_path: Path) -> None:
    it = opened(chromium, tmp_path, results())
    it.tab.locator("#curve-throughput").scroll_into_view_if_needed()
    marker = it.tab.locator("#curve-throughput .scatterlayer .trace .points path").last.bounding_box()
    it.tab.mouse.move(marker["x"] + marker["width"] / 2, marker["y"] + marker["height"] / 2, steps=3)
    it.tab.wait_for_selector("#curve-throughput .hoverlayer .hovertext", timeout=PATIENCE_MS)
    assert "720 tokens/s" in it.tab.locator("#curve-throughput .hoverlayer").text_content()


def test_the_results_can_be_saved_from_the_page(chromium: Any, tmp_path: Path) -> None:
    it = opened(chromium, tmp_path, results())
    with it.tab.expect_download(timeout=PATIENCE_MS) as saved:
        it.tab.click("#save")
    assert saved.value.suggested_filename == "results.json"
    assert json.loads(Path(saved.value.path()).read_text(encoding="utf-8")) == to_json(results())
