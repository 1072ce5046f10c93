"""What judges: answers and their equivalence, and scores for candidates."""

from ponder.verifiers.api import Candidate, Equivalence, Question, Shot, Verdict, Verifier
from ponder.verifiers.equivalence import EquivalenceCounts, ExactEquivalence, MathEquivalence
from ponder.verifiers.extraction import extract
from ponder.verifiers.grouping import group
from ponder.verifiers.keys import canonical
from ponder.verifiers.kinds import VERIFIERS, VerifierKind, verifier_kind

__all__ = [
    "VERIFIERS",
    "Candidate",
    "Equivalence",
    "EquivalenceCounts",
    "ExactEquivalence",
    "MathEquivalence",
    "Question",
    "Shot",
    "Verdict",
    "Verifier",
    "VerifierKind",
    "canonical",
    "extract",
    "group",
    "verifier_kind",
]
