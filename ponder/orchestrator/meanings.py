"""What the settings of a method mean: the string under each field of its dataclass, which Python
does not keep, read from the source.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from functools import lru_cache
from itertools import pairwise
from types import ModuleType


def meanings(method: type) -> dict[str, str]:
    """By setting, in one line; settings without a string are left out. A method's own words come
    before those of the classes it is made of.
    """
    found: dict[str, str] = {}
    for kind in reversed(method.__mro__):
        found |= _classes(inspect.getmodule(kind)).get(kind.__name__, {})
    return found


@lru_cache(maxsize=256)
def _classes(module: ModuleType | None) -> dict[str, dict[str, str]]:
    """Of every class on the module's first level."""
    try:
        text = inspect.getsource(module) if module is not None else ""
    except (OSError, TypeError):  # built in, typed at a prompt, or shipped without its source
        return {}
    classes = [node for node in ast.parse(text).body if isinstance(node, ast.ClassDef)]
    return {node.name: dict(_described(node)) for node in classes}


def _described(node: ast.ClassDef) -> Iterator[tuple[str, str]]:
    for line, below in pairwise(node.body):
        if (
            isinstance(line, ast.AnnAssign)
            and isinstance(line.target, ast.Name)
            and isinstance(below, ast.Expr)
            and isinstance(below.value, ast.Constant)
            and isinstance(below.value.value, str)
        ):
            yield line.target.id, " ".join(below.value.value.split())
