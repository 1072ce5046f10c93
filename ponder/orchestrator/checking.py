"""Refuse what cannot run before a token is spent: ports, engine roles, capabilities, names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ponder.orchestrator.expression import Expression, Step
from ponder.orchestrator.naming import name_of, named, nodes
from ponder.orchestrator.ports import mismatches
from ponder.runtime import Capabilities, CapabilityError, Engine, InputError, unknown
from ponder.strategies import Port
from ponder.verifiers import Potential, Question, potential_of

SCHEMA = "json_schema"
"""The kind of grammar that a form is."""
_FIXES = {
    "prefix_continuation": ", or let the prefix be restated in a user turn (--allow-fallback)",
}
"""Ways out that only some lacks have."""
_READING = frozenset({"heads"})
"""All that is ever needed of an engine that only reads."""


def check(
    expression: Expression,
    engines: Mapping[str, Engine] | None = None,
    question: Question | None = None,
    potentials: Mapping[str, Potential] | None = None,
) -> Expression:
    """The expression with its nodes named, if it can run.

    Args:
        expression: what to check.
        engines: by role; None checks the expression alone.
        question: what it is to answer, whose form engines must be able to hold replies to.
        potentials: by name; looked at where engines are.

    Raises:
        InputError: names, ports or roles are wrong; says each place and its fix.
        CapabilityError: an engine lacks what a node needs.
    """
    whole = named(expression)
    wrong = list(mismatches(whole))
    if wrong:
        raise InputError("; ".join(wrong))
    if engines is not None:
        for node in nodes(whole):
            if isinstance(node, Step):
                _check_engines(node, engines, question)
                _check_potentials(node, potentials or {})
    return whole


def roles_of(expression: Expression) -> frozenset[str]:
    """Engine roles that its nodes ask."""
    steps = [node for node in nodes(expression) if isinstance(node, Step)]
    return frozenset(role for step in steps for role in step.strategy.needs())


def _check_engines(step: Step, engines: Mapping[str, Engine], question: Question | None) -> None:
    where = f"node {name_of(step)!r}"
    for role, needed in sorted(_needs(step, question).items()):
        if role not in engines:
            raise InputError(
                f"{where}: {unknown('engine role', role, engines)}; give it an engine "
                f"(--engine {role}=MODEL)"
            )
        engine = engines[role]
        missing = list(_missing(engine.capabilities, needed))
        if missing:
            raise CapabilityError(
                f"{where} needs {', '.join(missing)} of the {role} engine, and {engine.name!r} "
                f"has none; give role {role!r} an engine that has, such as an embedded model, "
                f"or take another verifier or method{''.join(_FIXES.get(m, '') for m in missing)}"
            )


def _check_potentials(step: Step, potentials: Mapping[str, Potential]) -> None:
    for fit in getattr(step.strategy, "fits", ()):
        try:
            potential_of(fit, potentials)
        except InputError as error:
            raise InputError(f"node {name_of(step)!r}: {error}") from error


def _needs(step: Step, question: Question | None) -> dict[str, frozenset[str]]:
    """With what the form of an answer asks of whoever draws replies: steps need to go on in the
    middle of one.
    """
    strategy = step.strategy
    needs, role = strategy.needs(), getattr(strategy, "engine", None)
    if question is None or question.form is None or strategy.takes is not Port.QUESTION:
        return needs
    if isinstance(role, str) and role in needs:
        steps = "prefix_continuation" in needs[role]
        needs[role] |= {"grammars", "grammar_start"} if steps else {"grammars"}
    return needs


def restating(step: Step, engines: Mapping[str, Engine]) -> Iterator[str]:
    """Names of the engines on which this node makes do with a restated prefix."""
    for role, needed in sorted(step.strategy.needs().items()):
        engine = engines[role]
        restated = engine.capabilities.prefix_continuation == "restated"
        if restated and "prefix_continuation" in needed:
            yield engine.name


def _missing(capabilities: Capabilities, needed: frozenset[str]) -> Iterator[str]:
    if not capabilities.decode and needed != _READING:
        yield "decode"
    for name in sorted(needed):
        value = getattr(capabilities, name)
        other = (name == "fork" and value != "kv") or (name == "grammars" and SCHEMA not in value)
        if not value or other:
            yield name
