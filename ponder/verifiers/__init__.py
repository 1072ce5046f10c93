"""What judges: answers and their equivalence, and scores for candidates."""

from ponder.verifiers.api import Candidate, Equivalence, Question, Verdict, Verifier

__all__ = ["Candidate", "Equivalence", "Question", "Verdict", "Verifier"]
