"""What each node of the graph spent, and on what: calls and tokens of the policy and of verifiers,
fresh and cached.
"""

from __future__ import annotations

from dataclasses import dataclass

from ponder.orchestrator.calls import COUNTED
from ponder.orchestrator.trace import Trace
from ponder.runtime import Usage


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """For one purpose."""

    calls: int = 0
    """Decodes and scorings."""
    usage: Usage = Usage()

    @property
    def fresh(self) -> int:
        """Given tokens that were computed."""
        return self.usage.prompt - self.usage.cached


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeSpending:
    node: str
    policy: Spent
    verifier: Spent


def spending(trace: Trace) -> list[NodeSpending]:
    """Of every node that called a model, in reading order; together they are the run's usage."""
    found: dict[str, dict[str, Spent]] = {}
    for event in trace.events:
        if event["event"] == "call":
            purposes = found.setdefault(event["node"], {})
            before = purposes.get(event["purpose"], Spent())
            purposes[event["purpose"]] = Spent(
                calls=before.calls + (event["kind"] in COUNTED),
                usage=before.usage + Usage(**event["usage"]),
            )
    return [
        NodeSpending(
            node=node,
            policy=purposes.get("policy", Spent()),
            verifier=purposes.get("verifier", Spent()),
        )
        for node, purposes in found.items()
    ]
