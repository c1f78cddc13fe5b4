"""Which modelled version a measurement's words for its version mean."""

import re
from collections.abc import Mapping

# When each modelled version came out, as far as the projects' release pages tell: a source often states a date only.
RELEASED: Mapping[str, Mapping[str, str]] = {
    "vllm": {
        "0.8": "2025-03",
        "0.9": "2025-05",
        "0.14": "2026-01",
        "0.19": "2026-04",
        "0.25": "2026-07",
        "0.32": "2026-11",
    },
    "ollama": {
        "0.1.33": "2024-04",
        "0.1.34": "2024-05",
        "0.2.0": "2024-07",
        "0.4.0": "2024-11",
        "0.6.0": "2025-03",
        "0.6.7": "2025-05",
        "0.10.0": "2025-07",
        "0.11.9": "2025-09",
        "0.12.4": "2025-10",
        "0.15.5": "2026-02",
        "0.17.5": "2026-03",
        "0.18.0": "2026-03",
        "0.30.0": "2026-06",
        "0.32.10": "2026-08",
    },
    "llama_cpp": {
        "b2496": "2024-03",
        "b5913": "2025-07",
        "b6455": "2025-09",
        "b6723": "2025-10",
        "b6925": "2025-11",
        "b8901": "2026-04",
        "b11434": "2026-11",
    },
}
_FIRST_HALF = ("january", "february", "march", "april", "may", "june")
MONTHS = (*_FIRST_HALF, "july", "august", "september", "october", "november", "december")
ISO = r"\b(20\d\d)-(\d\d)\b"
NUMBER = {"vllm": r"\b\d+\.\d+(?:\.\d+)?", "ollama": r"\b\d+\.\d+(?:\.\d+)?", "llama_cpp": r"\bb\d{3,6}\b"}


def modelled_version(engine: str, words: str) -> tuple[str, str | None]:
    """The version to simulate, and what was assumed; the words' number, else their date, else the newest version."""
    known = list(RELEASED[engine])
    stated = _number_in(engine, words)
    if stated:
        return _no_older(stated, known)
    date = stated_month(_plain(words))
    if date is None:
        told = f"version '{words}' says no release" if words else "version blank"
        return known[-1], f"{told}: {known[-1]}, the newest modelled"
    before = [version for version, month in RELEASED[engine].items() if month <= date]
    version = before[-1] if before else known[0]
    return version, f"version '{words}': {version}{'' if before else ', the oldest modelled'}"


def is_before(engine: str, words: str, release: str) -> bool:
    """Whether the words name a release that is older than this one."""
    stated = _number_in(engine, words)
    return stated is not None and _numbers(stated) < _numbers(release)


def states_release(engine: str, words: str) -> bool:
    """Whether the words name a release, or a month."""
    text = _plain(words)
    if _number_in(engine, words):
        return True
    return stated_month(text) is not None and bool(_months(text) or re.search(ISO, text))


def _number_in(engine: str, words: str) -> str | None:
    """The number of a release as the engine writes it, if the words hold one."""
    found = re.search(NUMBER[engine], _plain(words))
    return found.group() if found else None


def _plain(words: str) -> str:
    return re.sub(r"(?<![a-z])v(?=\d)", " ", words.lower())


def stated_month(text: str) -> str | None:
    """The last month that the words may mean, as 2025-09; a year alone means its December."""
    iso = re.search(ISO, text)
    if iso:
        return iso.group()
    year = re.search(r"\b20[2-4]\d\b", text)
    if year is None:
        return None
    return f"{year.group()}-{max(_months(text), default=12):02}"


def _months(text: str) -> list[int]:
    """The months that are named, in full or by three letters and more."""
    words = re.findall(r"(?<![a-z\d])[a-z]{3,}", text)
    return [number for number, name in enumerate(MONTHS, 1) if any(name.startswith(word) for word in words)]


def _no_older(stated: str, known: list[str]) -> tuple[str, str | None]:
    """The version itself, or the oldest modelled one where it is older."""
    if _numbers(stated) >= _numbers(known[0]):
        return stated, None
    return known[0], f"version {stated} is not modelled: {known[0]}, the oldest that is"


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.removeprefix("b").split("."))
