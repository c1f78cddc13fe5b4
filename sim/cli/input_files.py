"""The files that words of the command line name, each known by what it holds."""

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path

BULKY = 64 << 20  # bytes, beyond which a file is not read to its end
HEAD = 1 << 20


def digests(words: Iterable[object]) -> dict[str, str]:
    """Every word that names a file, with a hash of what is in it; `lengths.csv:COLUMN` names one too."""
    paths = {word: path for word in words if isinstance(word, str) for path in _paths(word)}
    return {word: _digest(path) for word, path in sorted(paths.items())}


def _paths(word: str) -> Iterator[Path]:
    for name in dict.fromkeys((word, word.rpartition(":")[0])):
        if name and Path(name).is_file():
            yield Path(name)


def _digest(path: Path) -> str:
    """A hash of the whole file; of weights of many GiB head, size and time of the last change stand for the rest."""
    known, content = path.stat(), hashlib.sha256()
    with path.open("rb") as file:
        content.update(file.read(HEAD if known.st_size > BULKY else -1))
    if known.st_size > BULKY:
        content.update(f"{known.st_size} {known.st_mtime_ns}".encode())
    return content.hexdigest()
