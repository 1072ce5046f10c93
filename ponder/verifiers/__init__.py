"""What judges: answers and their equivalence, and scores for candidates."""

from ponder.verifiers.api import Candidate, Equivalence, Question, Shot, Verdict, Verifier
from ponder.verifiers.dispersion import certainty, entropy
from ponder.verifiers.equivalence import EquivalenceCounts, ExactEquivalence, MathEquivalence
from ponder.verifiers.extraction import extract
from ponder.verifiers.grouping import Groups, group
from ponder.verifiers.keys import canonical
from ponder.verifiers.kinds import VERIFIERS, VerifierKind, verifier_kind
from ponder.verifiers.step_kinds import STEP_VERIFIERS, StepVerifierKind, step_verifier_kind
from ponder.verifiers.steps import StepVerifier

__all__ = [
    "STEP_VERIFIERS",
    "VERIFIERS",
    "Candidate",
    "Equivalence",
    "EquivalenceCounts",
    "ExactEquivalence",
    "Groups",
    "MathEquivalence",
    "Question",
    "Shot",
    "StepVerifier",
    "StepVerifierKind",
    "Verdict",
    "Verifier",
    "VerifierKind",
    "canonical",
    "certainty",
    "entropy",
    "extract",
    "group",
    "step_verifier_kind",
    "verifier_kind",
]
