"""Benchmarks: tasks, their examples, runs that resume, and what they come to."""

from ponder.evals.difficulty import (
    ABSOLUTE,
    Allocation,
    Cell,
    Trial,
    allocate,
    compute_optimal,
    cross_validated,
    pass_rates,
    quantile_borders,
    trials,
)
from ponder.evals.directory import RunDirectory, Settings
from ponder.evals.finished import FinishedRun, finished_run
from ponder.evals.grading import Attempt
from ponder.evals.health import Decline, Health, health
from ponder.evals.records import Asked, Record, Score, Vote
from ponder.evals.reports import Report, report
from ponder.evals.rescoring import Rescoring, rescore
from ponder.evals.rows import read_rows
from ponder.evals.run import Progress, Solve, evaluate, example_seed
from ponder.evals.selection import Choice, Selected, auc, best_of, brier
from ponder.evals.solving import run_settings, run_task, solve_with
from ponder.evals.sources import fingerprint, load_examples, make_examples
from ponder.evals.statistics import Estimate, Interval, Sample, majority_at, pass_at, wilson
from ponder.evals.tables import report_table
from ponder.evals.tasks import TASKS, Example, Hub, Task, find_task

__all__ = [
    "ABSOLUTE",
    "TASKS",
    "Allocation",
    "Asked",
    "Attempt",
    "Cell",
    "Choice",
    "Decline",
    "Estimate",
    "Example",
    "FinishedRun",
    "Health",
    "Hub",
    "Interval",
    "Progress",
    "Record",
    "Report",
    "Rescoring",
    "RunDirectory",
    "Sample",
    "Score",
    "Selected",
    "Settings",
    "Solve",
    "Task",
    "Trial",
    "Vote",
    "allocate",
    "auc",
    "best_of",
    "brier",
    "compute_optimal",
    "cross_validated",
    "evaluate",
    "example_seed",
    "find_task",
    "fingerprint",
    "finished_run",
    "health",
    "load_examples",
    "majority_at",
    "make_examples",
    "pass_at",
    "pass_rates",
    "quantile_borders",
    "read_rows",
    "report",
    "report_table",
    "rescore",
    "run_settings",
    "run_task",
    "solve_with",
    "trials",
    "wilson",
]
