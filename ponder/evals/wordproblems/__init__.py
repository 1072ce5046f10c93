"""Word problems made by rule: families of one to six steps, with worked solutions."""

from ponder.evals.wordproblems.story import Problem, Step
from ponder.evals.wordproblems.stream import FAMILIES, problem, problems

__all__ = ["FAMILIES", "Problem", "Step", "problem", "problems"]
