"""What probing found out about a model at an endpoint."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Literal

from ponder.runtime.capabilities import Capabilities
from ponder.runtime.chat import ENDPOINT_FIELDS
from ponder.runtime.grammar import GrammarKind
from ponder.runtime.remote.formats import Way
from ponder.runtime.values import SpliceMode


class Prefix(Enum):
    """Ways to have a reply continued that has already begun."""

    CONTINUE = "continue_final_message"
    """An assistant turn last, and two fields of vLLM and SGLang."""
    FIELD = "prefix"
    """An assistant turn last, marked `prefix: true`, as DeepSeek and Mistral have it."""
    LAST = "last"
    """An assistant turn last, and nothing else."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Abilities:
    """Each is True only where a probe saw it work."""

    version: str
    """Of the server, where it tells; "" where not."""
    context_length: int | None
    limit: str
    """Name of the field for the most tokens a reply may have."""
    completions: bool
    """Raw text is continued (`/completions`)."""
    prefix: Prefix | None
    choices: int
    """Most to ask for in a request; 1 where `n` is not honoured."""
    seed: bool
    ladder: bool
    """Choice i under seed s is what seed s + i gives alone, so that it does not matter who shares a
    request.
    """
    stop_told: bool
    """Says which stop string ended a reply; else an end and a stop look the same."""
    logprobs: bool
    confidence: int
    """Of how many of the likeliest tokens it tells log-probabilities; 0 for none."""
    scores: bool
    """Tells the tokens of chat turns and of text (`/tokenize`), and the log-probability of each in
    a prompt of tokens (`echo`).
    """
    usage: bool
    """Streams end with counts."""
    stream: bool
    top_k: bool
    min_p: bool
    grammars: tuple[tuple[GrammarKind, Way], ...]
    """Kinds that replies can be held to, and how that is said."""

    def capabilities(self, *, fallback: bool, context_length: int | None) -> Capabilities:
        """As every engine tells them.

        Args:
            fallback: restate a prefix where it cannot be continued.
            context_length: the user's word, before the endpoint's.
        """
        continued: Literal["exact", "restated"] | None = "exact" if self.prefix else None
        if fallback and continued is None:
            continued = "restated"
        return Capabilities(
            context_length=context_length or self.context_length,
            fork="text",
            token_ids=False,
            prefix_continuation=continued,
            top_k=self.top_k,
            min_p=self.min_p,
            logprobs=self.logprobs,
            prompt_logprobs=self.scores,
            logits=False,
            seed=self.seed and (self.ladder or self.choices == 1),
            splice=frozenset([SpliceMode.REENCODE]),
            live_views=False,
            hidden_states=False,
            heads=(),
            stream=self.stream,
            chat=ENDPOINT_FIELDS,
            confidence=self.confidence,
            grammars=frozenset(kind for kind, _ in self.grammars),
        )


MOST_CHOICES = 128
"""That OpenAI itself allows."""
MOST_LIKELIEST = (20, 5)
"""Tokens: OpenAI's limit, and that of some others."""
