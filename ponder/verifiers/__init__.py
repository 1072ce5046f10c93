"""What judges: answers and their equivalence, and scores for candidates."""

from ponder.verifiers.api import BOXED, Candidate, Equivalence, Question, Shot, Verdict, Verifier
from ponder.verifiers.confidence import (
    MEASURES,
    WINDOW,
    TokenConfidence,
    attempt_confidence,
    group_means,
    percentile,
)
from ponder.verifiers.dispersion import certainty, entropy
from ponder.verifiers.equivalence import EquivalenceCounts, ExactEquivalence, MathEquivalence
from ponder.verifiers.extraction import extract
from ponder.verifiers.grouping import Groups, group
from ponder.verifiers.keys import canonical
from ponder.verifiers.kinds import VERIFIERS, VerifierKind, verifier_kind
from ponder.verifiers.picking import pick, pick_tokens
from ponder.verifiers.potentials.api import Guide, Potential
from ponder.verifiers.potentials.checking import check_potential
from ponder.verifiers.potentials.named import (
    Fit,
    Named,
    json_schema,
    lark,
    potential_of,
    predicate,
    regex,
)
from ponder.verifiers.potentials.predicate import Predicate
from ponder.verifiers.restart import platt
from ponder.verifiers.sameness import mark, plain
from ponder.verifiers.shadows import Shadow, ShadowJudge
from ponder.verifiers.step_kinds import STEP_VERIFIERS, StepVerifierKind, step_verifier_kind
from ponder.verifiers.steps import StepVerifier
from ponder.verifiers.stepwise import MOST_STEPS, Stepwise
from ponder.verifiers.structured import SameJson, answer_of, canonical_json

__all__ = [
    "BOXED",
    "MEASURES",
    "MOST_STEPS",
    "STEP_VERIFIERS",
    "VERIFIERS",
    "WINDOW",
    "Candidate",
    "Equivalence",
    "EquivalenceCounts",
    "ExactEquivalence",
    "Fit",
    "Groups",
    "Guide",
    "MathEquivalence",
    "Named",
    "Potential",
    "Predicate",
    "Question",
    "SameJson",
    "Shadow",
    "ShadowJudge",
    "Shot",
    "StepVerifier",
    "StepVerifierKind",
    "Stepwise",
    "TokenConfidence",
    "Verdict",
    "Verifier",
    "VerifierKind",
    "answer_of",
    "attempt_confidence",
    "canonical",
    "canonical_json",
    "certainty",
    "check_potential",
    "entropy",
    "extract",
    "group",
    "group_means",
    "json_schema",
    "lark",
    "mark",
    "percentile",
    "pick",
    "pick_tokens",
    "plain",
    "platt",
    "potential_of",
    "predicate",
    "regex",
    "step_verifier_kind",
    "verifier_kind",
]
