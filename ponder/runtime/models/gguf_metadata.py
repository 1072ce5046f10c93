"""A GGUF file's metadata with types checked. Knows no architecture's keys."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ponder.runtime.errors import InputError
from ponder.runtime.models.gguf_header import Value


class Metadata:
    """Keys are the architecture's unless they say `general.`."""

    def __init__(self, values: Mapping[str, Value], path: Path) -> None:
        self._values = values
        self._prefix = f"{values.get('general.architecture')}."
        self.path = path

    def get(self, key: str) -> Value | None:
        return self._values.get(key if key.startswith("general.") else self._prefix + key)

    def keys_below(self, start: str) -> list[str]:
        """The architecture's keys that start so, without its name."""
        whole = self._prefix + start
        return sorted(k.removeprefix(self._prefix) for k in self._values if k.startswith(whole))

    def text(self, key: str) -> str:
        value = self.get(key)
        if not isinstance(value, str):
            raise self._wrong(key, value, "a text")
        return value

    def count(self, key: str, default: int | None = None) -> int:
        value = default if self.get(key) is None else self.get(key)
        if not isinstance(value, int):
            raise self._wrong(key, value, "one whole number")
        return value

    def number(self, key: str, default: float | None = None) -> float:
        value = default if self.get(key) is None else self.get(key)
        if not isinstance(value, int | float):
            raise self._wrong(key, value, "one number")
        return value

    def _wrong(self, key: str, value: object, wanted: str) -> InputError:
        said = "is missing" if value is None else f"is {value!r}"
        return InputError(f"{self.path}: metadata {key!r} {said}; it must be {wanted}")
