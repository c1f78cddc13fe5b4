"""The header of a GGUF file: what it says of the model and where its tensors lie; their contents are never read."""

import struct
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import BinaryIO

from sim.errors import BadScenario

MAGIC = b"GGUF"
VERSIONS = (2, 3)
# Real headers hold a vocabulary and its merges, about 10 MiB; a longer one is damaged, or no header at all.
LARGEST_HEADER_BYTES = 64 * 1024**2
LARGEST_ELEMENTS = 10**14
MOST_KEYS = 10_000
MOST_TENSORS = 200_000
LONGEST_NAME = 65_536
MOST_DIMENSIONS = 8
DEEPEST_ARRAY = 2

STRING, ARRAY = 8, 9
SCALARS = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d"}
LONGEST_KEPT_ARRAY = 4096  # per-layer values; a vocabulary is only counted

Scalar = int | float | bool | str


@dataclass(frozen=True, slots=True)
class Array:
    """A list of the header: its length, and its values where they are few."""

    length: int
    values: tuple[Scalar, ...]


@dataclass(frozen=True, slots=True)
class Tensor:
    """One tensor by name, number of elements and the id of its type."""

    name: str
    elements: int
    kind: int


@dataclass(frozen=True, slots=True)
class Header:
    """Everything before the tensors' data."""

    metadata: dict[str, Scalar | Array]
    tensors: tuple[Tensor, ...]


def read_header(path: Path) -> Header:
    """The header of that file; a damaged one is refused with the field that was being read."""
    try:
        with path.open("rb") as file:
            return _Reader(file, path).header()
    except OSError as error:
        raise BadScenario(f"{path}: cannot be read: {error}") from None


class _Reader:
    """A position in the file that never passes the longest header, and the field that is read."""

    def __init__(self, file: BinaryIO, path: Path) -> None:
        self._file, self._path = file, path
        self._at, self._field = 0, "magic"

    def header(self) -> Header:
        if self._take(len(MAGIC)) != MAGIC:
            raise self._wrong("is not 'GGUF': this is no GGUF file")
        self._field = "version"
        version = self._number("<I")
        if version not in VERSIONS:
            raise self._wrong(f"is {version}; known: {', '.join(map(str, VERSIONS))}")
        self._field = "tensor_count"
        tensors = self._count(MOST_TENSORS)
        self._field = "metadata_kv_count"
        keys = self._count(MOST_KEYS)
        metadata = dict(self._entry(number) for number in range(keys))
        return Header(metadata, tuple(self._tensor(number) for number in range(tensors)))

    def _entry(self, number: int) -> tuple[str, Scalar | Array]:
        self._field = f"key {number}"
        key = self._text()
        self._field = key
        return key, self._value(self._number("<I"), depth=0)

    def _value(self, kind: int, depth: int) -> Scalar | Array:
        if kind == STRING:
            return self._text()
        if kind == ARRAY:
            return self._array(depth + 1)
        if kind not in SCALARS:
            raise self._wrong(f"has the unknown type {kind}")
        value: Scalar = struct.unpack(SCALARS[kind], self._take(struct.calcsize(SCALARS[kind])))[0]
        return value

    def _array(self, depth: int) -> Array:
        if depth > DEEPEST_ARRAY:
            raise self._wrong("is a list of lists of lists")
        kind, length = self._number("<I"), self._count(LARGEST_HEADER_BYTES)
        if kind in SCALARS and length > LONGEST_KEPT_ARRAY:
            self._take(length * struct.calcsize(SCALARS[kind]))
            return Array(length, ())
        if kind == STRING:
            for _ in range(length):
                self._take(self._count(LARGEST_HEADER_BYTES))
            return Array(length, ())
        values = [self._value(kind, depth) for _ in range(length)]
        return Array(length, tuple(value for value in values if not isinstance(value, Array)))

    def _tensor(self, number: int) -> Tensor:
        self._field = f"tensor {number}"
        name = self._text()
        self._field = f"tensor {name}"
        dimensions = [self._number("<Q") for _ in range(self._number("<I", most=MOST_DIMENSIONS))]
        elements = prod(dimensions)
        if not 0 < elements <= LARGEST_ELEMENTS:
            raise self._wrong(f"has {elements} elements")
        kind = self._number("<I")
        self._take(8)  # where its data begins
        return Tensor(name, elements, kind)

    # -- primitives

    def _text(self) -> str:
        return self._take(self._count(LONGEST_NAME * 16)).decode("utf-8", errors="replace")

    def _count(self, most: int) -> int:
        return self._number("<Q", most)

    def _number(self, layout: str, most: int | None = None) -> int:
        value: int = struct.unpack(layout, self._take(struct.calcsize(layout)))[0]
        if most is not None and value > most:
            raise self._wrong(f"counts {value:,}; more than {most:,} are not believed")
        return value

    def _take(self, count: int) -> bytes:
        self._at += count
        if self._at > LARGEST_HEADER_BYTES:
            raise self._wrong(f"would make the header longer than {LARGEST_HEADER_BYTES // 1024**2} MiB")
        taken = self._file.read(count)
        if len(taken) != count:
            raise self._wrong(f"is cut off: the file ends at byte {self._at - count + len(taken):,}")
        return taken

    def _wrong(self, complaint: str) -> BadScenario:
        return BadScenario(f"{self._path}: field '{self._field:.80}' {complaint}")
