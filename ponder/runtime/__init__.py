"""What runs models: tokens in; tokens, log-probabilities and scores out."""

from ponder.runtime.api import Branch, Engine
from ponder.runtime.capabilities import Capabilities
from ponder.runtime.chat import TOOLS, Chat, chat_refusal, unmet
from ponder.runtime.constraints.following import Follower, Vocabulary
from ponder.runtime.errors import (
    BranchClosed,
    BudgetExceeded,
    CapabilityError,
    ContextOverflow,
    InputError,
    ModelError,
    NotRecorded,
    PonderError,
    PoolExhausted,
    unknown,
)
from ponder.runtime.grammar import Grammar, GrammarKind
from ponder.runtime.models import KnownModel, LoadedModel, known_models, load_model
from ponder.runtime.opening import open_engine
from ponder.runtime.picking import Choose, Row
from ponder.runtime.replay.recording import RecordingEngine
from ponder.runtime.replay.replaying import ReplayEngine
from ponder.runtime.replay.silent import SilentEngine
from ponder.runtime.runners.choice import Platform, describe_platform
from ponder.runtime.scripted import ScriptedEngine
from ponder.runtime.seeds import BranchPath
from ponder.runtime.standing import Leaving, Standing
from ponder.runtime.stats import EngineStats, EngineTime
from ponder.runtime.tool_calls import OPENING, without_calls
from ponder.runtime.values import (
    Delta,
    Finish,
    Logits,
    Message,
    Pooling,
    Prompt,
    Sampling,
    Scored,
    Segment,
    SpliceMode,
    Tokens,
    ToolCall,
    Usage,
)

__all__ = [
    "OPENING",
    "TOOLS",
    "Branch",
    "BranchClosed",
    "BranchPath",
    "BudgetExceeded",
    "Capabilities",
    "CapabilityError",
    "Chat",
    "Choose",
    "ContextOverflow",
    "Delta",
    "Engine",
    "EngineStats",
    "EngineTime",
    "Finish",
    "Follower",
    "Grammar",
    "GrammarKind",
    "InputError",
    "KnownModel",
    "Leaving",
    "LoadedModel",
    "Logits",
    "Message",
    "ModelError",
    "NotRecorded",
    "Platform",
    "PonderError",
    "PoolExhausted",
    "Pooling",
    "Prompt",
    "RecordingEngine",
    "ReplayEngine",
    "Row",
    "Sampling",
    "Scored",
    "ScriptedEngine",
    "Segment",
    "SilentEngine",
    "SpliceMode",
    "Standing",
    "Tokens",
    "ToolCall",
    "Usage",
    "Vocabulary",
    "chat_refusal",
    "describe_platform",
    "known_models",
    "load_model",
    "open_engine",
    "unknown",
    "unmet",
    "without_calls",
]
