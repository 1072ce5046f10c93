"""Reads what stands before the weights in a GGUF file: metadata and the table of tensors.

A reader of its own, because the library's walks arrays element by element (seconds for a
vocabulary) and trusts every count in the file. Here each count is held against the bytes that are
left, so a cut or corrupt file is an error and never a long loop. Knows nothing of models; needs no
numpy. Source: the GGUF specification, versions 2 and 3.
"""

from __future__ import annotations

import math
import mmap
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ponder.runtime.errors import InputError

Scalar = int | float | bool | str
Value = Scalar | list[Scalar]

_FORMATS: Final = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?"} | {
    10: "Q",
    11: "q",
    12: "d",
}
_STRING: Final = 8
_ARRAY: Final = 9
_SHORTEST_STRING: Final = 8
_SHORTEST_ENTRY: Final = 12
_MOST_DIMENSIONS: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorEntry:
    """Where a tensor lies and how it is coded."""

    name: str
    shape: tuple[int, ...]
    """Outermost first: [out, in] for a linear weight. (The file has it the other way round.)"""
    kind: int
    """The number of its quantisation."""
    offset: int
    """Bytes from the start of the file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    metadata: Mapping[str, Value]
    tensors: Mapping[str, TensorEntry]
    size: int
    """Bytes of the whole file."""


def read_header(path: Path) -> Header:
    """Metadata and tensor table of the file.

    Raises:
        InputError: it cannot be read, is no GGUF, or ends too soon.
    """
    try:
        with path.open("rb") as file:
            magic = file.read(4)
            if magic != b"GGUF":
                raise InputError(
                    f"{path} is not a GGUF file: it starts with {magic!r} where b'GGUF' belongs; "
                    "give the path of a .gguf model"
                )
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                return _parse(_Cursor(path, data))
    except OSError as error:
        raise InputError(f"cannot read model file {path}: {error.strerror or error}") from error


class _Cursor:
    """A place in the file that never moves past its end."""

    def __init__(self, path: Path, data: mmap.mmap) -> None:
        self.path = path
        self.size = len(data)
        self.place = 4
        self._data = data

    def need(self, count: int) -> None:
        if count > self.size - self.place:
            raise InputError(
                f"model file {self.path} is cut short or corrupt: {count} bytes are due at offset "
                f"{self.place}, and it has {self.size} in all; copy or download it again"
            )

    def bytes(self, count: int) -> bytes:
        self.need(count)
        start, self.place = self.place, self.place + count
        return self._data[start : self.place]

    def numbers(self, kind: str, count: int = 1) -> list[Scalar]:
        width = struct.calcsize("<" + kind)
        self.need(width * count)
        return list(struct.unpack(f"<{count}{kind}", self.bytes(width * count)))

    def integer(self, kind: str) -> int:
        return int(self.numbers(kind)[0])

    def string(self) -> str:
        raw = self.bytes(self.integer("Q"))
        try:
            return raw.decode()
        except UnicodeDecodeError as error:
            raise self.corrupt(f"a name or text is not UTF-8: {raw[:40]!r}") from error

    def corrupt(self, what: str) -> InputError:
        return InputError(
            f"model file {self.path} is corrupt near offset {self.place}: {what}; "
            "copy or download it again"
        )


def _parse(cursor: _Cursor) -> Header:
    version = cursor.integer("I")
    if version not in (2, 3):
        raise InputError(
            f"{cursor.path} says it is GGUF version {version}; supported: 2 and 3, little-endian"
        )
    tensor_count, entry_count = cursor.integer("Q"), cursor.integer("Q")
    metadata = _metadata(cursor, entry_count)
    alignment = metadata.get("general.alignment", 32)
    if not isinstance(alignment, int) or alignment < 1 or alignment & (alignment - 1):
        raise cursor.corrupt(f"general.alignment is {alignment!r}; it must be a power of two")
    tensors = _tensors(cursor, tensor_count)
    start = -(-cursor.place // alignment) * alignment
    moved = {
        name: TensorEntry(name=name, shape=t.shape, kind=t.kind, offset=start + t.offset)
        for name, t in tensors.items()
    }
    return Header(metadata=metadata, tensors=moved, size=cursor.size)


def _metadata(cursor: _Cursor, count: int) -> dict[str, Value]:
    cursor.need(count * _SHORTEST_ENTRY)
    metadata: dict[str, Value] = {}
    for _ in range(count):
        key = cursor.string()
        if key in metadata:
            raise cursor.corrupt(f"metadata {key!r} stands there twice")
        metadata[key] = _value(cursor, cursor.integer("I"))
    return metadata


def _value(cursor: _Cursor, kind: int) -> Value:
    if kind == _STRING:
        return cursor.string()
    if kind == _ARRAY:
        element, count = cursor.integer("I"), cursor.integer("Q")
        if element == _STRING:
            cursor.need(count * _SHORTEST_STRING)
            return [cursor.string() for _ in range(count)]
        return cursor.numbers(_format(cursor, element), count)
    return cursor.numbers(_format(cursor, kind))[0]


def _format(cursor: _Cursor, kind: int) -> str:
    if kind not in _FORMATS:
        raise cursor.corrupt(f"metadata of unknown type {kind}")
    return _FORMATS[kind]


def _tensors(cursor: _Cursor, count: int) -> dict[str, TensorEntry]:
    cursor.need(count * _SHORTEST_ENTRY)
    tensors: dict[str, TensorEntry] = {}
    for _ in range(count):
        name, dimensions = cursor.string(), cursor.integer("I")
        if name in tensors or dimensions > _MOST_DIMENSIONS:
            raise cursor.corrupt(f"tensor {name!r} stands there twice or has {dimensions} axes")
        shape = tuple(int(n) for n in reversed(cursor.numbers("Q", dimensions)))
        kind, offset = cursor.integer("I"), cursor.integer("Q")
        tensors[name] = TensorEntry(name=name, shape=shape, kind=kind, offset=offset)
    return tensors


def summary(path: Path) -> tuple[str, int]:
    """Architecture and number of parameters."""
    header = read_header(path)
    parameters = sum(math.prod(t.shape) for t in header.tensors.values())
    return str(header.metadata.get("general.architecture", "unknown")), parameters
