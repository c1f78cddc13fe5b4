"""A heading says what was asked of the servers: a workload, lengths of one's own, or the requests of a file."""

import pytest

from reports.traffic import traffic
from workloads.presets import preset


@pytest.mark.parametrize(
    ("scenario", "words"),
    [
        ({"workload": "chat"}, "chat workload"),
        ({"workload": "rag", "prompt-tokens": "fixed:512"}, "rag workload with prompts of 512 tokens"),
        ({"workload": "rag", "output-tokens": "uniform:1,9"}, "rag workload with answers of uniform:1,9 tokens"),
        (
            {"workload": "chat", "prompt-tokens": "fixed:512", "output-tokens": "fixed:64"},
            "prompts of 512 and answers of 64 tokens",
        ),
        ({"workload": "chat", "trace": "logs/monday.csv", "prompt-tokens": None}, "requests of monday.csv"),
    ],
)
def test_what_was_asked_is_named(scenario: dict[str, str | None], words: str) -> None:
    assert traffic(scenario) == words


@pytest.mark.parametrize("name", ["chat", "rag"])
def test_a_workloads_own_lengths_are_its_name(name: str) -> None:
    own = preset(name)
    resolved = {"workload": name, "prompt-tokens": own.prompt.text, "output-tokens": own.output.text}
    assert traffic(resolved) == f"{name} workload"
