"""What an engine can do, as a value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ponder.runtime.grammar import KINDS, GrammarKind
from ponder.runtime.values import SpliceMode


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What an engine can do; a plan that needs more is refused before a token is spent."""

    context_length: int | None
    """Tokens, prompt and continuation together; None where an endpoint does not tell. An engine
    that forks by text refuses what is too long when it is sent, others at once.
    """
    fork: Literal["kv", "text"]
    """By "text", a branch's whole past is sent, and charged, with each call."""
    token_ids: bool
    """Tokens are the model's own. Where not, a branch is kept in Unicode code points, which are
    good for rewinding and nothing else.
    """
    prefix_continuation: Literal["exact", "restated"] | None
    """Whether a branch that holds some of the reply can be extended: as if the model had never
    stopped; only by telling the model in a user turn how its reply begins; or not at all.
    """
    top_k: bool
    min_p: bool
    logprobs: bool
    """Log-probabilities of drawn tokens."""
    prompt_logprobs: bool
    """Log-probabilities of given tokens (`score`)."""
    logits: bool
    seed: bool
    """Draws are a function of the branch's path."""
    hidden_states: bool
    """Hidden states can be pooled into one vector (`embed`)."""
    heads: tuple[str, ...]
    """Names that `read` takes."""
    splice: frozenset[SpliceMode]
    """Modes of `splice` and `join`."""
    live_views: bool
    """Branches can see others' tails grow (`share`)."""
    stream: bool
    """`stream` gives pieces as they are drawn, not all at the end."""
    chat: frozenset[str] = frozenset()
    """Fields of `Chat` that it obeys, or passes on to who does."""
    confidence: int = 0
    """Most tokens that `Sampling.confidence` may ask of: the vocabulary, where the engine sees all
    logits; 0 where it tells none.
    """
    decode: bool = True
    """Tokens can be drawn (`extend`)."""
    grammars: frozenset[GrammarKind] = frozenset()
    """Kinds that a decode can be held to."""
    grammar_start: bool = False
    """A grammar may have begun before the decode, so that a constrained text can be extended."""

    @classmethod
    def everything(
        cls,
        context_length: int,
        *,
        vocabulary: int,
        splice: frozenset[SpliceMode],
        live_views: bool,
        hidden_states: bool,
        heads: tuple[str, ...],
        chat: frozenset[str] = frozenset(),
    ) -> Capabilities:
        """What an engine that owns its model and its KV can do."""
        return cls(
            context_length=context_length,
            fork="kv",
            token_ids=True,
            prefix_continuation="exact",
            top_k=True,
            min_p=True,
            logprobs=True,
            prompt_logprobs=True,
            logits=True,
            seed=True,
            splice=splice,
            live_views=live_views,
            hidden_states=hidden_states,
            heads=heads,
            stream=True,
            chat=chat,
            confidence=vocabulary,
            grammars=frozenset(KINDS),
            grammar_start=True,
        )
