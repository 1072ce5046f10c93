"""The verifiers a strategy can name: what each needs, what it costs at most, and how it is made."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ponder.runtime import BranchPath, Engine, InputError, unknown
from ponder.verifiers.api import Verifier
from ponder.verifiers.likelihood import Likelihood
from ponder.verifiers.restart import Restart
from ponder.verifiers.self_evaluation import SelfEvaluation
from ponder.verifiers.step_kinds import STEP_VERIFIERS

# The wording around question and solution, the chat template and the scored words, in characters:
# no tokenizer makes more tokens than that.
_SELF_EVALUATION_WORDING = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifierKind:
    name: str
    summary: str
    source: str
    """Whose read-out it is: authors and year, and where it was published."""
    needs: frozenset[str]
    """Capabilities needed of the engine it asks."""
    calls: int
    """Engine calls a candidate."""
    tokens: Callable[[int, int], int]
    """Most tokens a candidate costs, from (prompt tokens, candidate tokens)."""
    build: Callable[[Engine, BranchPath], Verifier]


VERIFIERS = {
    kind.name: kind
    for kind in (
        VerifierKind(
            name="likelihood",
            summary="geometric mean of the candidate's own token probabilities; free",
            source="Adiwardana et al. 2020, arXiv 2001.09977 (sample and rank)",
            needs=frozenset({"logprobs"}),
            calls=0,
            tokens=lambda prompt, candidate: 0,
            build=lambda engine, path: Likelihood(),
        ),
        VerifierKind(
            name="self_evaluation",
            summary="the model's probability of Yes against No when asked if the solution is right",
            source="Kadavath et al. 2022, arXiv 2207.05221 (P(True))",
            needs=frozenset({"prompt_logprobs"}),
            calls=1,
            tokens=lambda prompt, candidate: prompt + candidate + _SELF_EVALUATION_WORDING,
            build=lambda engine, path: SelfEvaluation(engine=engine, path=path),
        ),
        VerifierKind(
            name="restart",
            summary="the model's probability of No against Yes when asked if starting again would "
            "be better",
            source="Manvi et al. 2024, arXiv 2410.02725",
            needs=STEP_VERIFIERS["restart"].needs,
            calls=1,
            tokens=lambda prompt, candidate: (
                prompt + candidate + STEP_VERIFIERS["restart"].extra_tokens
            ),
            build=lambda engine, path: Restart(engine=engine, path=path),
        ),
    )
}


def verifier_kind(name: str) -> VerifierKind:
    """Raises `InputError` for a name that does not exist, with the nearest that does."""
    if name not in VERIFIERS:
        raise InputError(unknown("verifier", name, VERIFIERS))
    return VERIFIERS[name]
