"""The engines that a command works with: read from its options, opened, recorded or replayed, and
closed in the end.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ponder.cli.terminal import tell

if TYPE_CHECKING:
    from ponder.orchestrator import Expression, Runtime
    from ponder.runtime import Engine
    from ponder.verifiers import Potential

_REMOTE = "openai:"
_AT_ENDPOINTS = (_REMOTE, "reward:")
_EXAMPLE = "prm=openai:NAME@http://localhost:8000/v1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One engine as the options ask for it. Equal ones are one engine, whatever its roles."""

    model: str
    base_url: str | None = None
    label: str = field(compare=False)
    """As it was written: what it is recorded as."""

    @property
    def remote(self) -> bool:
        return self.model.startswith(_AT_ENDPOINTS)

    @property
    def drawing(self) -> bool:
        """At an endpoint that draws."""
        return self.model.startswith(_REMOTE)


Opening = Callable[[Asked], "Engine"]


def asked_engines(
    model: str,
    base_url: str | None,
    given: Sequence[str] | None = None,
    strategy: Expression | None = None,
) -> dict[str, Asked]:
    """What is asked for, by role; the policy first.

    Args:
        model: of the policy.
        base_url: of every endpoint that does not say its own.
        given: `ROLE=MODEL`, `ROLE=openai:NAME@URL` or `ROLE=reward:NAME@URL`, each.
        strategy: whose nodes ask these roles; None does not say.

    Raises:
        InputError: one cannot be read, a role is given twice, or none asks it.
    """
    from ponder.runtime import InputError

    found: dict[str, Asked] = {}
    for text in given or ():
        role, one = _read(text, base_url)
        if role == "policy":
            raise InputError(f"--engine {text!r}: the policy is --model's; give --model instead")
        if role in found:
            raise InputError(
                f"role {role!r} is given two engines, {found[role].label!r} and {one.label!r}; "
                "give it one"
            )
        found[role] = one
    if strategy is not None:
        _check_roles(found, strategy)
    # Where no engine is at an endpoint, the policy's opening says that there is no use for a URL.
    mine = model.startswith(_AT_ENDPOINTS) or not any(one.remote for one in found.values())
    policy = Asked(model=model, base_url=base_url if mine else None, label=model)
    return {"policy": policy, **found}


def _read(text: str, base_url: str | None) -> tuple[str, Asked]:
    from ponder.runtime import InputError

    role, sign, named = (part.strip() for part in text.partition("="))
    if not sign or not re.fullmatch(r"[A-Za-z]\w*", role):
        raise InputError(f"--engine {text!r} is not ROLE=MODEL; write it like {_EXAMPLE!r}")
    model, at, url = named.rpartition("@") if re.search(r"@https?://", named) else (named, "", "")
    if not model or model in _AT_ENDPOINTS:
        raise InputError(f"--engine {text!r} names no model; write it like {_EXAMPLE!r}")
    if at and not model.startswith(_AT_ENDPOINTS):
        raise InputError(
            f"--engine {text!r}: only models that begin with {' or '.join(_AT_ENDPOINTS)} are at "
            f"an endpoint; did you mean {role}={_REMOTE}{named}?"
        )
    own = url or (base_url if model.startswith(_AT_ENDPOINTS) else None)
    return role, Asked(model=model, base_url=own, label=named)


def _check_roles(asked: Mapping[str, Asked], strategy: Expression) -> None:
    from ponder.orchestrator import roles_of
    from ponder.runtime import InputError, unknown

    known = roles_of(strategy)
    for role, one in asked.items():
        if role not in known:
            raise InputError(
                f"--engine {role}={one.label}: {unknown('role', role, known)}; these are the "
                "roles that the strategy asks"
            )


def opening(
    asked: Mapping[str, Asked],
    weights: str = "float32",
    probe: bool = False,
    allow_fallback: bool = False,
    *,
    pages: int | None = None,
) -> Opening:
    """What opens each of them. What is about endpoints goes to those at one, if there are any."""
    from ponder.runtime import open_engine

    everyone = not any(one.remote for one in asked.values())

    def open_one(one: Asked) -> Engine:
        drawing = everyone or one.drawing
        return open_engine(
            one.model,
            weights=weights,
            pages=pages,
            base_url=one.base_url,
            probe=probe and drawing,
            allow_fallback=allow_fallback and drawing,
        )

    return open_one


def kept(opening: Opening, record: Path | None, replay: Path | None) -> Opening:
    """The same, recorded; or what was recorded, in place of it."""
    from ponder.runtime import InputError, RecordingEngine, ReplayEngine

    if record is not None and replay is not None:
        raise InputError("--record and --replay are given; a replay has nothing new to record")
    if replay is not None:
        return lambda one: ReplayEngine(replay, model=one.label or None)
    if record is not None:
        return lambda one: RecordingEngine(opening(one), record, model=one.label)
    return opening


@asynccontextmanager
async def engines(
    asked: Mapping[str, Asked], opening: Opening
) -> AsyncGenerator[dict[str, Engine]]:
    """By role; all are closed in the end, those too that were open when the next could not be."""
    async with AsyncExitStack() as held:
        found: dict[Asked, Engine] = {}
        for one in asked.values():
            if one not in found:
                found[one] = opening(one)
                held.push_async_callback(_close, found[one])
        yield {role: found[one] for role, one in asked.items()}


@asynccontextmanager
async def opened(
    asked: Mapping[str, Asked],
    opening: Opening,
    concurrency: int,
    potentials: Mapping[str, Potential] | None = None,
) -> AsyncGenerator[Runtime]:
    """A runtime of those engines, which are closed in the end."""
    from ponder.orchestrator import Runtime
    from ponder.verifiers import MathEquivalence

    async with engines(asked, opening) as found:
        equivalence = MathEquivalence()
        try:
            yield Runtime(
                found, equivalence=equivalence, concurrency=concurrency, potentials=potentials
            )
        finally:
            await equivalence.close()


async def _close(engine: Engine) -> None:
    from ponder.runtime import RecordingEngine

    await engine.close()
    if isinstance(engine, RecordingEngine) and engine.differing:
        tell(
            f"{engine.path}: {engine.differing} calls were on record with other results, which "
            "stay; a replay gives those"
        )
