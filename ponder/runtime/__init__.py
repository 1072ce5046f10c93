"""What runs models: tokens in; tokens, log-probabilities and scores out.

`LocalEngine` needs torch, so it is imported when it is first asked for.
"""

from typing import TYPE_CHECKING

from ponder.runtime.api import (
    Branch,
    Capabilities,
    Delta,
    Engine,
    EngineStats,
    Finish,
    Logits,
    Message,
    Prompt,
    Sampling,
    Scored,
    Segment,
    Usage,
)
from ponder.runtime.errors import (
    BranchClosed,
    BudgetExceeded,
    CapabilityError,
    ContextOverflow,
    InputError,
    ModelError,
    PonderError,
    PoolExhausted,
    unknown,
)
from ponder.runtime.scripted import ScriptedEngine
from ponder.runtime.seeds import BranchPath

if TYPE_CHECKING:
    from ponder.runtime.engine.engine import LocalEngine

__all__ = [
    "Branch",
    "BranchClosed",
    "BranchPath",
    "BudgetExceeded",
    "Capabilities",
    "CapabilityError",
    "ContextOverflow",
    "Delta",
    "Engine",
    "EngineStats",
    "Finish",
    "InputError",
    "LocalEngine",
    "Logits",
    "Message",
    "ModelError",
    "PonderError",
    "PoolExhausted",
    "Prompt",
    "Sampling",
    "Scored",
    "ScriptedEngine",
    "Segment",
    "Usage",
    "unknown",
]


def __getattr__(name: str) -> object:
    if name == "LocalEngine":
        from ponder.runtime.engine.engine import LocalEngine

        return LocalEngine
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
