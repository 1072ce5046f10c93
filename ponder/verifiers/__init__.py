"""What judges: answers and their equivalence, and scores for candidates."""

from ponder.verifiers.api import Candidate, Equivalence, Question, Verdict, Verifier
from ponder.verifiers.kinds import VERIFIERS, VerifierKind, verifier_kind

__all__ = [
    "VERIFIERS",
    "Candidate",
    "Equivalence",
    "Question",
    "Verdict",
    "Verifier",
    "VerifierKind",
    "verifier_kind",
]
