"""What judges: answers and their equivalence, and scores for candidates."""

from ponder.verifiers.api import BOXED, Candidate, Equivalence, Question, Shot, Verdict, Verifier
from ponder.verifiers.equivalence import EquivalenceCounts, ExactEquivalence, MathEquivalence
from ponder.verifiers.extraction import extract
from ponder.verifiers.grouping import group
from ponder.verifiers.keys import canonical
from ponder.verifiers.kinds import VERIFIERS, VerifierKind, verifier_kind
from ponder.verifiers.step_kinds import STEP_VERIFIERS, StepVerifierKind, step_verifier_kind
from ponder.verifiers.steps import StepVerifier
from ponder.verifiers.structured import SameJson, answer_of, canonical_json

__all__ = [
    "BOXED",
    "STEP_VERIFIERS",
    "VERIFIERS",
    "Candidate",
    "Equivalence",
    "EquivalenceCounts",
    "ExactEquivalence",
    "MathEquivalence",
    "Question",
    "SameJson",
    "Shot",
    "StepVerifier",
    "StepVerifierKind",
    "Verdict",
    "Verifier",
    "VerifierKind",
    "answer_of",
    "canonical",
    "canonical_json",
    "extract",
    "group",
    "step_verifier_kind",
    "verifier_kind",
]
