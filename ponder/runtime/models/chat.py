"""Renders chat turns with a model's own Jinja template.

Templates come with models and are not trusted: they run in Jinja's immutable sandbox and see
nothing but the turns and the names of special tokens. Settings follow what templates on the hub are
written for: trimmed blocks, loop controls, `raise_exception`, a plain `tojson`. No clock, so a
prompt is the same tomorrow.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

import jinja2
import jinja2.sandbox

from ponder.runtime.errors import InputError
from ponder.runtime.values import Message

# What an expression inside a template can raise besides Jinja's own errors.
_FAULTS = (
    jinja2.TemplateError,
    TypeError,
    ValueError,
    AttributeError,
    LookupError,
    ArithmeticError,
    RecursionError,
)


class ChatTemplate:
    """A compiled template."""

    def __init__(self, source: str, *, names: Mapping[str, str], where: str) -> None:
        """`names` are the special tokens the template may write, such as `bos_token`."""
        environment = jinja2.sandbox.ImmutableSandboxedEnvironment(
            trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
        )
        environment.filters["tojson"] = _to_json
        functions: dict[str, Any] = {"raise_exception": _refuse}  # Any: jinja2 types its own only
        environment.globals.update(functions)
        self.source = source
        self._names = dict(names)
        self._where = where
        try:
            self._template = environment.from_string(source)
        except _FAULTS as error:
            raise InputError(
                f"{where}: the chat template cannot be compiled: {error}; give raw text as prompt, "
                "or another model"
            ) from error

    def render(self, messages: Sequence[Message]) -> str:
        """The turns as text, opened for the assistant's reply."""
        turns = [{"role": m.role, "content": m.content} for m in messages]
        try:
            return self._template.render(
                messages=turns,
                tools=None,
                documents=None,
                add_generation_prompt=True,
                **self._names,
            )
        except _FAULTS as error:
            roles = [m.role for m in messages]
            raise InputError(
                f"{self._where}: the chat template refuses turns {roles!r}: {error}"
            ) from error


def _refuse(message: str) -> NoReturn:
    raise jinja2.TemplateError(message)


def _to_json(value: object, ensure_ascii: bool = False, indent: int | None = None) -> str:
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent)
