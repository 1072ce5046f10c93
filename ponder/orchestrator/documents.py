"""Reads YAML that nobody vouches for into plain data: no tags, no anchors, no duplicate keys, not
too deep and not too long. Knows nothing of strategies.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ponder.runtime import InputError

if TYPE_CHECKING:
    import yaml

MOST_BYTES = 1_000_000
MOST_LEVELS = 64


def read_document(path: Path) -> object:
    """The plain data in a YAML file.

    Raises:
        InputError: it cannot be read, is too long, or is not plain YAML; says where.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise InputError(f"{str(path)!r} cannot be read: {error.strerror}") from error
    if len(raw) > MOST_BYTES:
        raise InputError(f"{str(path)!r} is over {MOST_BYTES} bytes; that is no strategy")
    try:
        return plain_data(raw.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise InputError(f"{str(path)!r} is not text in UTF-8: {error.reason}") from error
    except InputError as error:
        raise InputError(f"{str(path)!r}: {error}") from error


def plain_data(text: str) -> object:
    """Mappings, lists and scalars of one YAML document."""
    import yaml

    if len(text) > MOST_BYTES:
        raise InputError(f"{len(text)} characters of YAML; {MOST_BYTES} at most")
    try:
        _check_events(text)
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        if node is None:
            raise InputError("it is empty; write a strategy such as `sample: {n: 16}`")
        _check_keys(node)
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"not YAML: {' '.join(str(error).split())}") from error


def _check_events(text: str) -> None:
    """Before anything is built: what grows, runs or nests is refused."""
    import yaml

    level = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        line = event.start_mark.line + 1 if event.start_mark else 0
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise InputError(f"line {line}: anchors and aliases are not allowed; write it out")
        tag: str | None = getattr(event, "tag", None)
        if tag is not None:
            raise InputError(f"line {line}: the tag {tag!r} is not allowed")
        level += isinstance(event, yaml.CollectionStartEvent)
        level -= isinstance(event, yaml.CollectionEndEvent)
        if level > MOST_LEVELS:
            raise InputError(f"line {line}: nested deeper than {MOST_LEVELS} levels")


def _check_keys(node: yaml.Node) -> None:
    """YAML's own loader keeps the last of equal keys without a word."""
    import yaml

    if isinstance(node, yaml.SequenceNode):
        for item in node.value:
            _check_keys(item)
    elif isinstance(node, yaml.MappingNode):
        seen = set[Any]()
        for key, value in node.value:
            line = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode):
                raise InputError(f"line {line}: a key must be a word")
            if key.value in seen:
                raise InputError(f"line {line}: the key {key.value!r} is there twice")
            seen.add(key.value)
            _check_keys(value)
