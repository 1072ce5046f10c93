"""The step verifiers a search can name: what each needs, what it costs at most, how it is made."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ponder.runtime import BranchPath, Engine, InputError, unknown
from ponder.verifiers.indifferent import Indifferent
from ponder.verifiers.label_reward import SELF_EVALUATION, LabelReward, Labels
from ponder.verifiers.process_reward import ProcessReward
from ponder.verifiers.restart import RESTART
from ponder.verifiers.step_judge import RATING, StepJudge
from ponder.verifiers.steps import StepVerifier
from ponder.verifiers.wording import STEP


@dataclass(frozen=True, slots=True, kw_only=True)
class StepVerifierKind:
    name: str
    summary: str
    source: str
    """Authors and paper, in one line."""
    needs: frozenset[str]
    """Capabilities needed of the engine it asks."""
    extra_tokens: int
    """Most tokens a step costs beyond its own."""
    build: Callable[[Engine, BranchPath], StepVerifier]


def _labelled(labels: Labels) -> Callable[[Engine, BranchPath], StepVerifier]:
    return lambda engine, path: LabelReward(engine=engine, path=path, labels=labels)


def _most(labels: Labels) -> int:
    # In characters: no tokenizer makes more tokens than that, nor more than one a byte.
    return len((labels.tag + labels.probe + labels.good + labels.bad).encode())


_SHEPHERD = Labels(good="+", bad="-", tag=" ки\n")

STEP_VERIFIERS = {
    kind.name: kind
    for kind in (
        StepVerifierKind(
            name="process_reward",
            summary="a reward or value head of the engine, read at the end of each step",
            source="Lightman et al. 2023, arXiv 2305.20050",
            needs=frozenset({"heads"}),
            extra_tokens=1,
            build=lambda engine, path: ProcessReward(engine=engine, path=path),
        ),
        StepVerifierKind(
            name="qwen_process_reward",
            summary="the head of Qwen2.5-Math-PRM, with its separator behind each step",
            source="Zhang et al. 2025, arXiv 2501.07301",
            needs=frozenset({"heads"}),
            extra_tokens=1 + len("<extra_0>"),
            build=lambda engine, path: ProcessReward(
                engine=engine, path=path, separator="<extra_0>"
            ),
        ),
        StepVerifierKind(
            name="math_shepherd",
            summary="Math-Shepherd's labels + and - behind its step tag",
            source="Wang et al. 2023, arXiv 2312.08935",
            needs=frozenset({"prompt_logprobs", "prefix_continuation"}),
            extra_tokens=_most(_SHEPHERD),
            build=_labelled(_SHEPHERD),
        ),
        StepVerifierKind(
            name="self_evaluation",
            summary="the model's probability of Yes against No when asked if all steps are right",
            source="Manvi et al. 2024, arXiv 2410.02725",
            needs=frozenset({"prompt_logprobs", "prefix_continuation"}),
            extra_tokens=_most(SELF_EVALUATION),
            build=_labelled(SELF_EVALUATION),
        ),
        StepVerifierKind(
            name="judge_step",
            summary="the model rates the last step from 0 to 10, in words",
            source="Yao et al. 2023, arXiv 2305.10601 (the value prompt of Tree of Thoughts)",
            needs=frozenset({"prefix_continuation"}),
            extra_tokens=len(STEP.encode()) + RATING.max_tokens,
            build=lambda engine, path: StepJudge(engine=engine, path=path),
        ),
        StepVerifierKind(
            name="restart",
            summary="the model's probability of No against Yes when asked if starting again would "
            "be better",
            source="Manvi et al. 2024, arXiv 2410.02725",
            needs=frozenset({"prompt_logprobs", "prefix_continuation"}),
            extra_tokens=_most(RESTART),
            build=_labelled(RESTART),
        ),
        StepVerifierKind(
            name="indifferent",
            summary="no opinion: each step scores 1; for searches weighted by what texts must fit",
            source="Loula et al. 2025, arXiv 2504.13139 (weights by potentials alone)",
            needs=frozenset(),
            extra_tokens=0,
            build=lambda engine, path: Indifferent(),
        ),
    )
}


def step_verifier_kind(name: str) -> StepVerifierKind:
    """Raises `InputError` for a name that does not exist, with the nearest that does."""
    if name not in STEP_VERIFIERS:
        raise InputError(unknown("step verifier", name, STEP_VERIFIERS))
    return STEP_VERIFIERS[name]
