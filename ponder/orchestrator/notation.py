"""Strategies as YAML, both ways without loss: one operation a mapping, `pipe` and `parallel` as
lists.

Types are checked by pydantic, ranges by the values themselves; each error names its place, such as
`pipe[1].judge`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any, TypeVar, cast

from ponder.orchestrator.adaptive import route
from ponder.orchestrator.conditions import read_condition, read_metric
from ponder.orchestrator.documents import plain_data, read_document
from ponder.orchestrator.dsl import best_of
from ponder.orchestrator.expression import Expression, Parallel, Pipe, Step, When
from ponder.orchestrator.operations import METHODS, changed_settings, operation_name
from ponder.orchestrator.presets import PRESETS
from ponder.orchestrator.settings import list_of, mapping_of, shown, validated
from ponder.orchestrator.settings import located as _at
from ponder.runtime import InputError, unknown

T = TypeVar("T")

STRUCTURE = ("pipe", "parallel", "when", "route", "best_of")
NAMES = (*METHODS, *STRUCTURE)


def load_strategy(name_or_path: str) -> Expression:
    """A preset by its name, or the strategy in a YAML file.

    Raises:
        InputError: it is neither, or the file does not hold a strategy.
    """
    if name_or_path in PRESETS:
        return PRESETS[name_or_path].expression
    path = Path(name_or_path)
    if path.suffix in (".yaml", ".yml"):
        data = read_document(path)
        try:
            return from_data(data)
        except InputError as error:
            raise InputError(f"{name_or_path!r}: {error}") from error
    raise InputError(
        f"{unknown('strategy', name_or_path, PRESETS)}; or give a path that ends in .yaml"
    )


def from_yaml(text: str) -> Expression:
    """Raises `InputError` with the place of what is wrong."""
    return from_data(plain_data(text))


def to_yaml(expression: Expression) -> str:
    """Raises `InputError` for a method of the user's own: it has no name to write."""
    import yaml

    # ASCII only: PyYAML writes some line ends of Unicode so that it reads them back as others.
    return yaml.safe_dump(to_data(expression), sort_keys=False, allow_unicode=False)


def to_data(expression: Expression) -> dict[str, Any]:
    """Mappings, lists and scalars."""
    if isinstance(expression, Step):
        settings = {k: _plain(v) for k, v in changed_settings(expression.strategy).items()}
        return {operation_name(expression.strategy): {**settings, **_name(expression.name)}}
    if isinstance(expression, Pipe):
        return {"pipe": list(map(to_data, expression.parts))}
    if isinstance(expression, Parallel):
        parts = list(map(to_data, expression.parts))
        name = _name(expression.name)
        return {"parallel": {"parts": parts, **name} if name else parts}
    ways = {"then": to_data(expression.then), "otherwise": to_data(expression.otherwise)}
    return {"when": {"condition": str(expression.condition), **ways, **_name(expression.name)}}


def from_data(data: object, place: str = "") -> Expression:
    """Raises `InputError` with the place of what is wrong."""
    pairs = mapping_of(data)
    if pairs is None or len(pairs) != 1:
        raise InputError(
            f"{place or 'the strategy'} is {shown(data)}; it must be one operation, such as "
            "`sample: {n: 16}`"
        )
    ((operation, settings),) = pairs.items()
    if not isinstance(operation, str) or operation not in NAMES:
        raise InputError(_at(place, unknown("operation", str(operation), NAMES)))
    inner = f"{place}.{operation}" if place else operation
    if operation == "pipe":
        return _pipe(settings, inner)
    if operation == "parallel":
        return _parallel(settings, inner)
    if operation == "when":
        return _when(settings, inner)
    if operation == "route":
        return _route(settings, inner)
    return _step(operation, settings, inner)


def _pipe(settings: object, place: str) -> Expression:
    parts = _parts(settings, place)
    return parts[0] if len(parts) == 1 else Pipe(parts=parts)


def _parallel(settings: object, place: str) -> Expression:
    if mapping_of(settings) is None:
        return Parallel(parts=_parts(settings, place))
    fields = _fields(settings, place, required=("parts",), optional=("name",))
    parts = _parts(fields["parts"], f"{place}.parts")
    return _made(place, lambda: Parallel(parts=parts, name=_text(fields.get("name"), place)))


def _when(settings: object, place: str) -> Expression:
    fields = _fields(
        settings, place, required=("condition", "then", "otherwise"), optional=("name",)
    )
    then = from_data(fields["then"], f"{place}.then")
    otherwise = from_data(fields["otherwise"], f"{place}.otherwise")
    written = fields["condition"]
    if not isinstance(written, str):
        raise InputError(f"{place}.condition is {shown(written)}; write it like 'agreement < 0.6'")
    condition = _made(f"{place}.condition", lambda: read_condition(written))
    name = _text(fields.get("name"), place)
    return _made(
        place, lambda: When(condition=condition, then=then, otherwise=otherwise, name=name)
    )


def _route(settings: object, place: str) -> Expression:
    fields = _fields(settings, place, required=("by", "bins", "arms"), optional=("name",))
    arms = _parts(fields["arms"], f"{place}.arms")
    by = _made(f"{place}.by", lambda: read_metric(str(fields["by"])))
    bins = _numbers(fields["bins"], f"{place}.bins")
    name = _text(fields.get("name"), place)
    return _made(place, lambda: route(by, bins, arms, name=name))


def _step(operation: str, settings: object, place: str) -> Expression:
    given = _mapping({} if settings is None else settings, place)
    if operation == "best_of":
        checked = validated(best_of, given, place)
        return _made(place, lambda: best_of(**checked))
    name = _text(given.pop("name", None), place)
    method = METHODS[operation]
    checked = validated(method, given, place)
    return _made(place, lambda: Step(strategy=method(**checked), name=name))


def _parts(settings: object, place: str) -> tuple[Expression, ...]:
    items = list_of(settings)
    if not items:
        raise InputError(f"{place} is {shown(settings)}; it must be a list of operations")
    return tuple(from_data(item, f"{place}[{i}]") for i, item in enumerate(items))


def _numbers(settings: object, place: str) -> list[float]:
    items = list_of(settings) or []
    numbers = [float(i) for i in items if isinstance(i, int | float) and not isinstance(i, bool)]
    if not items or len(numbers) < len(items):
        raise InputError(f"{place} is {shown(settings)}; it must be a list of numbers")
    return numbers


def _fields(
    settings: object, place: str, *, required: tuple[str, ...], optional: tuple[str, ...]
) -> dict[str, object]:
    fields = _mapping(settings, place)
    for key in fields:
        if key not in required + optional:
            raise InputError(_at(place, unknown("key", key, required + optional)))
    for key in required:
        if key not in fields:
            raise InputError(f"{place} lacks {key!r}; it needs {', '.join(required)}")
    return fields


def _mapping(settings: object, place: str) -> dict[str, object]:
    pairs = mapping_of(settings)
    if pairs is None:
        raise InputError(f"{place} is {shown(settings)}; it must be settings such as {{n: 16}}")
    return {str(key): value for key, value in pairs.items()}


def _made(place: str, make: Callable[[], T]) -> T:
    """Range errors of the values, with their place."""
    try:
        return make()
    except InputError as error:
        raise InputError(_at(place, str(error))) from error


def _text(value: object, place: str) -> str | None:
    if value is not None and not isinstance(value, str):
        raise InputError(f"{place}.name is {shown(value)}; it must be text")
    return value


def _plain(value: object) -> object:
    if isinstance(value, tuple):
        return list(map(_plain, cast(tuple[object, ...], value)))
    return asdict(value) if is_dataclass(value) and not isinstance(value, type) else value


def _name(name: str | None) -> dict[str, str]:
    return {} if name is None else {"name": name}
