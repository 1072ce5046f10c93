"""What a server offers by name: strategies, and engines as plain models."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ponder.orchestrator.expression import Expression
from ponder.orchestrator.server.refusals import Refusal
from ponder.runtime import Engine, InputError, unknown


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalogue:
    """Names are what clients give as `model`."""

    strategies: Mapping[str, Expression]
    engines: Mapping[str, Engine]

    def __post_init__(self) -> None:
        both = sorted(set(self.strategies) & set(self.engines))
        if both:
            raise InputError(
                f"{both[0]!r} names a strategy and an engine; give one of them another name"
            )

    @property
    def names(self) -> list[str]:
        return [*self.strategies, *self.engines]

    def check(self, name: str) -> None:
        """Raises `Refusal` for a name that is not offered."""
        if name not in self.names:
            raise Refusal(
                status=404,
                message=unknown("model", name, self.names),
                kind="invalid_request_error",
                code="model_not_found",
                field="model",
            )
