"""The strategy graph: written with a few functions, checked and planned before it runs, run as a
stream under one budget, recorded so that every number can be recomputed.
"""

from ponder.orchestrator.adaptive import adaptive_best_of, pruned, route
from ponder.orchestrator.budget import Budget
from ponder.orchestrator.checking import check, roles_of
from ponder.orchestrator.conditions import METRICS, Condition, Metric
from ponder.orchestrator.confidences import confident, deepconf
from ponder.orchestrator.consistency import (
    DrawingSettings,
    adaptive_consistency,
    early_stopping,
    mbr,
    universal,
)
from ponder.orchestrator.dsl import (
    agreement,
    best,
    best_of,
    best_score,
    certainty,
    judge,
    mean_score,
    parallel,
    sample,
    step,
    vote,
    when,
)
from ponder.orchestrator.expression import Expression, Parallel, Pipe, Step, When
from ponder.orchestrator.forms import read_schema
from ponder.orchestrator.graphs import Edge, Graph, Node, graph
from ponder.orchestrator.inspecting.dot import trees_dot
from ponder.orchestrator.inspecting.judging import Judged, Tally, verdicts
from ponder.orchestrator.inspecting.page import trees_page, write_trees_page
from ponder.orchestrator.inspecting.telling import trace_data, trace_table
from ponder.orchestrator.kept import kept_candidates, kept_question
from ponder.orchestrator.listing import catalogue_data, catalogue_table, operation_table
from ponder.orchestrator.naming import name_of, nodes
from ponder.orchestrator.notation import from_data, from_yaml, load_strategy, to_data, to_yaml
from ponder.orchestrator.operations import Operation, Parameter, operations
from ponder.orchestrator.pictures import dot, mermaid
from ponder.orchestrator.planning import Cost, Plan, PlannedNode, by_role, plan
from ponder.orchestrator.populations import (
    ParticleSettings,
    constrained,
    parallel_tempering,
    particle_filter,
    particle_gibbs,
)
from ponder.orchestrator.presets import PRESETS, Preset
from ponder.orchestrator.recount import recompute
from ponder.orchestrator.result import Attempt, Numbers, Result, Spending, Status
from ponder.orchestrator.rewriting import rewritten
from ponder.orchestrator.saving import SavedRun, read_search
from ponder.orchestrator.schema import json_schema
from ponder.orchestrator.searches import (
    SearchSettings,
    ab_mcts,
    ab_mcts_m,
    astar,
    beam,
    dvts,
    mcts,
    rebase,
)
from ponder.orchestrator.server.catalogue import Catalogue
from ponder.orchestrator.server.serving import read_keys, serve, served_strategies
from ponder.orchestrator.server.settings import ServerSettings
from ponder.orchestrator.solving import Runtime, solve
from ponder.orchestrator.tables import (
    plan_data,
    plan_table,
    result_data,
    result_line,
)
from ponder.orchestrator.trace import Trace, read_trace

__all__ = [
    "METRICS",
    "PRESETS",
    "Attempt",
    "Budget",
    "Catalogue",
    "Condition",
    "Cost",
    "DrawingSettings",
    "Edge",
    "Expression",
    "Graph",
    "Judged",
    "Metric",
    "Node",
    "Numbers",
    "Operation",
    "Parallel",
    "Parameter",
    "ParticleSettings",
    "Pipe",
    "Plan",
    "PlannedNode",
    "Preset",
    "Result",
    "Runtime",
    "SavedRun",
    "SearchSettings",
    "ServerSettings",
    "Spending",
    "Status",
    "Step",
    "Tally",
    "Trace",
    "When",
    "ab_mcts",
    "ab_mcts_m",
    "adaptive_best_of",
    "adaptive_consistency",
    "agreement",
    "astar",
    "beam",
    "best",
    "best_of",
    "best_score",
    "by_role",
    "catalogue_data",
    "catalogue_table",
    "certainty",
    "check",
    "confident",
    "constrained",
    "deepconf",
    "dot",
    "dvts",
    "early_stopping",
    "from_data",
    "from_yaml",
    "graph",
    "json_schema",
    "judge",
    "kept_candidates",
    "kept_question",
    "load_strategy",
    "mbr",
    "mcts",
    "mean_score",
    "mermaid",
    "name_of",
    "nodes",
    "operation_table",
    "operations",
    "parallel",
    "parallel_tempering",
    "particle_filter",
    "particle_gibbs",
    "plan",
    "plan_data",
    "plan_table",
    "pruned",
    "read_keys",
    "read_schema",
    "read_search",
    "read_trace",
    "rebase",
    "recompute",
    "result_data",
    "result_line",
    "rewritten",
    "roles_of",
    "route",
    "sample",
    "serve",
    "served_strategies",
    "solve",
    "step",
    "to_data",
    "to_yaml",
    "trace_data",
    "trace_table",
    "trees_dot",
    "trees_page",
    "universal",
    "verdicts",
    "vote",
    "when",
    "write_trees_page",
]
