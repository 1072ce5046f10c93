"""The verifiers a strategy can name: what each needs, what it costs at most, and how it is made."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ponder.runtime import BranchPath, Engine, InputError, unknown
from ponder.verifiers.api import Verifier
from ponder.verifiers.asking import REPLY, TRIES
from ponder.verifiers.likelihood import Likelihood
from ponder.verifiers.listwise import MOST, ListwiseJudge, reply_tokens
from ponder.verifiers.pairing import most_pairs
from ponder.verifiers.pairwise import PairwiseJudge
from ponder.verifiers.pointwise import RATIONALES, PointwiseJudge
from ponder.verifiers.process_reward import ProcessReward
from ponder.verifiers.self_certainty import SelfCertainty
from ponder.verifiers.self_evaluation import SelfEvaluation
from ponder.verifiers.step_kinds import STEP_VERIFIERS
from ponder.verifiers.stepwise import Stepwise
from ponder.verifiers.wording import MOST_LABEL, MOST_WORDS

# The wording around question and solution, the chat template and the scored words, in characters:
# no tokenizer makes more tokens than that.
_SELF_EVALUATION_WORDING = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifierKind:
    name: str
    summary: str
    source: str
    """Authors and paper, in one line."""
    needs: frozenset[str]
    """Capabilities needed of the engine it asks."""
    calls: Callable[[int], int]
    """Most engine calls, from the number of candidates."""
    tokens: Callable[[int, int, int], int]
    """Most tokens, from (prompt tokens, tokens of a candidate, candidates)."""
    build: Callable[[Engine, BranchPath], Verifier]
    together: bool = False
    """Judges candidates against each other, so it has to be given all at once."""

    @property
    def asks(self) -> bool:
        """Whether it asks an engine; then it judges texts, and equal ones alike."""
        return self.calls(2) > 0


def _pointwise(name: str, summary: str, source: str, *, rationales: int) -> VerifierKind:
    draws = TRIES * rationales
    return VerifierKind(
        name=name,
        summary=summary,
        source=source,
        needs=frozenset(),
        calls=lambda n: n * draws,
        tokens=lambda prompt, candidate, n: (
            n * draws * (prompt + candidate + MOST_WORDS + MOST_LABEL + REPLY)
        ),
        build=lambda engine, path: PointwiseJudge(
            engine=engine, path=path, rationales=rationales, graded=rationales == 1
        ),
    )


def _outcome(name: str, summary: str, source: str, *, logit: bool) -> VerifierKind:
    def build(engine: Engine, path: BranchPath) -> Verifier:
        return Stepwise(
            make=lambda place: ProcessReward(engine=engine, path=path.child(place), logit=logit),
            combine=None,
        )

    return VerifierKind(
        name=name,
        summary=summary,
        source=source,
        needs=frozenset({"heads"}),
        calls=lambda n: n,
        tokens=lambda prompt, candidate, n: n * (prompt + candidate + 2),
        build=build,
    )


def _games(n: int) -> int:
    """Replies at most: each pair in both orders, each drawn again at most once."""
    return 2 * TRIES * most_pairs(n)


# A judge's prompt is counted once a reply: an engine that forks by text is sent it each time.
VERIFIERS = {
    kind.name: kind
    for kind in (
        VerifierKind(
            name="likelihood",
            summary="geometric mean of the candidate's own token probabilities; free",
            source="length-normalised log-probability; Murray and Chiang 2018, arXiv 1808.10006",
            needs=frozenset({"logprobs"}),
            calls=lambda n: 0,
            tokens=lambda prompt, candidate, n: 0,
            build=lambda engine, path: Likelihood(),
        ),
        VerifierKind(
            name="self_evaluation",
            summary="the model's probability of Yes against No when asked if the solution is right",
            source="Kadavath et al. 2022, arXiv 2207.05221",
            needs=frozenset({"prompt_logprobs"}),
            calls=lambda n: n,
            tokens=lambda prompt, candidate, n: n * (prompt + candidate + _SELF_EVALUATION_WORDING),
            build=lambda engine, path: SelfEvaluation(engine=engine, path=path),
        ),
        VerifierKind(
            name="self_certainty",
            summary="how far from even the candidate's token distributions were; free",
            source="Kang et al. 2025, arXiv 2502.18581",
            needs=frozenset({"confidence"}),
            calls=lambda n: 0,
            tokens=lambda prompt, candidate, n: 0,
            build=lambda engine, path: SelfCertainty(),
        ),
        _outcome(
            "outcome_reward",
            "a reward head of the engine, in [0, 1], read at the end of the solution",
            "Cobbe et al. 2021, arXiv 2110.14168",
            logit=False,
        ),
        _outcome(
            "bradley_terry_reward",
            "a reward head without bounds, trained on pairs, through the logistic function",
            "Bradley and Terry 1952; Ouyang et al. 2022, arXiv 2203.02155",
            logit=True,
        ),
        _pointwise(
            "judge_pointwise",
            "the model reasons about the solution and grades it from 0 to 10",
            "Zheng et al. 2023, arXiv 2306.05685",
            rationales=1,
        ),
        _pointwise(
            "judge_rationales",
            f"the share of {RATIONALES} rationales after which the model says that it is correct",
            "GenRM-CoT; Zhang et al. 2024, arXiv 2408.15240",
            rationales=RATIONALES,
        ),
        VerifierKind(
            name="judge_pairwise",
            summary="the share of comparisons won, each in both orders; all pairs, or Swiss rounds",
            source="Zheng et al. 2023, arXiv 2306.05685",
            needs=frozenset(),
            calls=_games,
            tokens=lambda prompt, candidate, n: (
                _games(n) * (prompt + 2 * (candidate + MOST_LABEL) + MOST_WORDS + REPLY)
            ),
            build=lambda engine, path: PairwiseJudge(engine=engine, path=path),
            together=True,
        ),
        VerifierKind(
            name="judge_listwise",
            summary=f"the place in the model's ranking of all candidates, {MOST} at most",
            source="Sun et al. 2023, arXiv 2304.09542; Saad-Falcon et al. 2024, arXiv 2409.15254",
            needs=frozenset(),
            calls=lambda n: TRIES if n > 1 else 0,
            tokens=lambda prompt, candidate, n: (
                TRIES * (prompt + n * (candidate + MOST_LABEL) + MOST_WORDS + reply_tokens(n))
            ),
            build=lambda engine, path: ListwiseJudge(engine=engine, path=path),
            together=True,
        ),
        VerifierKind(
            name="restart",
            summary="the model's probability of No against Yes when asked if starting again would "
            "be better",
            source="Manvi et al. 2024, arXiv 2410.02725",
            needs=STEP_VERIFIERS["restart"].needs,
            calls=lambda n: n,
            tokens=lambda prompt, candidate, n: (
                n * (prompt + candidate + STEP_VERIFIERS["restart"].extra_tokens)
            ),
            build=lambda engine, path: Stepwise(
                make=lambda place: STEP_VERIFIERS["restart"].build(engine, path.child(place)),
                combine=None,
            ),
        ),
    )
}


def verifier_kind(name: str) -> VerifierKind:
    """Raises `InputError` for a name that does not exist, with the nearest that does."""
    if name not in VERIFIERS:
        raise InputError(unknown("verifier", name, VERIFIERS))
    return VERIFIERS[name]
