"""Potentials on the command line: `--potential NAME=FILE.py:OBJECT` runs that file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from ponder.verifiers import Potential

WANTED = "NAME=FILE.py:OBJECT"


def asked_potentials(given: Sequence[str] | None) -> dict[str, Potential]:
    """By name.

    Raises:
        InputError: one is not written so, its file cannot be run, or holds no such object.
    """
    from ponder.runtime import InputError

    found = dict[str, "Potential"]()
    for each in given or ():
        name, _, place = each.partition("=")
        file, _, attribute = place.rpartition(":")
        if not (name and file and attribute):
            raise InputError(f"--potential is {each!r}; write it as {WANTED}")
        if name in found:
            raise InputError(f"--potential {name!r} is given twice; give each name once")
        found[name] = _potential(_module(Path(file)), attribute, each)
    return found


def _module(file: Path) -> ModuleType:
    from ponder.runtime import InputError

    spec = spec_from_file_location(file.stem, file)
    if not file.is_file() or spec is None or spec.loader is None:
        raise InputError(f"{str(file)!r} is no Python file; write --potential {WANTED}")
    module = module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # whatever the user's own file raises
        raise InputError(f"{str(file)!r} raised {type(error).__name__}: {error}") from error
    return module


def _potential(module: ModuleType, attribute: str, asked: str) -> Potential:
    from ponder.runtime import InputError
    from ponder.verifiers import Predicate

    found: object = getattr(module, attribute, None)
    if hasattr(found, "begin"):
        return cast("Potential", found)
    if callable(found):
        return Predicate(cast("Callable[[str], bool]", found))
    raise InputError(
        f"--potential {asked!r}: {attribute!r} is {found!r} there; it must be a Predicate, another "
        "potential, or a function of the whole text"
    )
