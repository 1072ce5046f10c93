"""What judges: answers and their equivalence, and scores for candidates."""

from ponder.verifiers.api import Candidate, Equivalence, Question, Shot, Verdict, Verifier
from ponder.verifiers.equivalence import EquivalenceCounts, ExactEquivalence, MathEquivalence
from ponder.verifiers.extraction import extract
from ponder.verifiers.grouping import group
from ponder.verifiers.keys import canonical
from ponder.verifiers.kinds import VERIFIERS, VerifierKind, verifier_kind
from ponder.verifiers.sameness import mark, plain
from ponder.verifiers.step_kinds import STEP_VERIFIERS, StepVerifierKind, step_verifier_kind
from ponder.verifiers.steps import StepVerifier
from ponder.verifiers.stepwise import MOST_STEPS, Stepwise

__all__ = [
    "MOST_STEPS",
    "STEP_VERIFIERS",
    "VERIFIERS",
    "Candidate",
    "Equivalence",
    "EquivalenceCounts",
    "ExactEquivalence",
    "MathEquivalence",
    "Question",
    "Shot",
    "StepVerifier",
    "StepVerifierKind",
    "Stepwise",
    "Verdict",
    "Verifier",
    "VerifierKind",
    "canonical",
    "extract",
    "group",
    "mark",
    "plain",
    "step_verifier_kind",
    "verifier_kind",
]
