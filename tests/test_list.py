"""`simctl list` says of every entry, and of all together, how much no source was read for."""

import pytest
from click.testing import CliRunner

from calibration import catalog
from sim.cli.main import cli


def listed(kind: str) -> list[str]:
    result = CliRunner().invoke(cli, ["list", kind])
    assert result.exit_code == 0
    return result.output.splitlines()


def row(kind: str, name: str) -> list[str]:
    (found,) = (line.split() for line in listed(kind) if line.startswith(f"{name} "))
    return found


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("llama-3.1-8b", ["dense"]),
        ("mixtral-8x7b", ["MoE", "2/8"]),
        ("deepseek-v3", ["MoE", "8/256", "MLA"]),
        ("gpt-oss-20b", ["MoE", "4/32", "window"]),
        ("gemma-3-4b", ["window"]),
    ],
)
def test_a_model_says_what_kind_it_is(name: str, kind: list[str]) -> None:
    assert row("models", name)[5 : 5 + len(kind)] == kind


def test_a_model_says_whether_its_shape_or_its_files_are_recalled() -> None:
    assert row("models", "llama-3.1-8b")[-1] == "0"
    assert row("models", "tinyllama-1.1b")[-2:] == ["9", "shape"]
    assert row("models", "deepseek-v2-lite")[-2:] == ["1", "files"]


@pytest.mark.parametrize(("kind", "singular"), [("GPUs", "gpu"), ("hosts", "host"), ("models", "model")])
def test_the_list_ends_with_what_is_recalled_in_all(kind: str, singular: str) -> None:
    entries = [getattr(catalog, singular)(name) for name in catalog.names(singular)]
    recalled = sum(len(entry.recalled) for entry in entries)
    *_, header, totals = listed(kind.lower())
    assert header.split() == [kind, "figures", "recalled"]
    count, figures, of_them, share = totals.replace(",", "").split()
    assert (int(count), int(of_them)) == (len(entries), recalled)
    assert share == f"{100 * recalled / int(figures):.0f}%"
    assert recalled < int(figures)
