"""What is asked of the servers, in a few words."""

from collections.abc import Mapping
from pathlib import PurePath
from typing import Any


def traffic(scenario: Mapping[str, Any]) -> str:
    """The trace, or the workload with the lengths that were given in the place of its own."""
    if scenario.get("trace"):
        return f"requests of {PurePath(scenario['trace']).name}"
    prompt, output = (_length(scenario.get(key)) for key in ("prompt-tokens", "output-tokens"))
    if prompt and output:
        return f"prompts of {prompt} and answers of {output} tokens"
    given = f" with prompts of {prompt} tokens" if prompt else f" with answers of {output} tokens" if output else ""
    return f"{scenario.get('workload', 'unnamed')} workload{given}"


def _length(given: str | None) -> str:
    """A length that was given; a workload's own stand in results too, as quantiles."""
    return "" if given is None or given.startswith("quantiles:") else given.removeprefix("fixed:")
