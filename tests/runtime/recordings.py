"""What tests of recordings share: an engine that is recorded, then replayed, by one program."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from ponder.runtime import (
    BranchPath,
    Engine,
    RecordingEngine,
    ReplayEngine,
    Sampling,
    ScriptedEngine,
    Segment,
)

PATH = BranchPath(7, ("replay",))
FREE = Sampling(max_tokens=6)
Program = Callable[[Engine], Coroutine[Any, Any, object]]


def scripted() -> ScriptedEngine:
    return ScriptedEngine(lambda prompt: {"xyz": 2.0, "xuv": 1.0, f"{prompt[:4]}!": 1.0})


def recorded(file: Path, program: Program, engine: Engine | None = None) -> Any:
    return ran(RecordingEngine(engine or scripted(), file), program)


def replayed(file: Path, program: Program) -> Any:
    return ran(ReplayEngine(file), program)


def ran(engine: Engine, program: Program) -> Any:
    async def run() -> object:
        try:
            return await program(engine)
        finally:
            await engine.close()

    return asyncio.run(run())


async def drawn(engine: Engine) -> Segment:
    return await (await engine.open("prompt", path=PATH)).extend(FREE)


async def three(engine: Engine) -> list[str]:
    branch = await engine.open("prompt", path=PATH)
    texts = []
    for _ in range(3):
        texts.append((await branch.extend(FREE)).text)
        branch.rewind(6)
    return texts
