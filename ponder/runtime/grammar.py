"""What a text must look like, as a plain value; `ponder.runtime.constraints` matches it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, get_args

from ponder.runtime.errors import InputError, unknown

GrammarKind = Literal["regex", "json_schema", "lark"]
KINDS: Final[tuple[GrammarKind, ...]] = get_args(GrammarKind)


@dataclass(frozen=True, slots=True, kw_only=True)
class Grammar:
    """A regular expression that the whole text matches, a JSON Schema (as JSON text) that its value
    fits, or a context-free grammar in llguidance's dialect of Lark.

    The text of the grammar itself is read when it is compiled; what is wrong is an `InputError`
    then.
    """

    kind: GrammarKind
    text: str

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise InputError(unknown("kind of grammar", self.kind, KINDS))
