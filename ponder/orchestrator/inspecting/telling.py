"""A run told from its trace: a table for people, plain data for programs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from ponder.orchestrator.inspecting.figures import Amount, Figures, figures
from ponder.orchestrator.inspecting.forest import forest
from ponder.orchestrator.inspecting.judging import tallies
from ponder.orchestrator.inspecting.spending import NodeSpending, Spent, spending
from ponder.orchestrator.trace import Trace
from ponder.runtime import InputError

_LONGEST = 100
"""Characters shown of a question or an answer."""
_HEADINGS = ("node", "for", "calls", "given", "cached", "drawn", "scored")


def trace_data(trace: Trace) -> dict[str, Any]:
    """JSON values.

    Raises:
        InputError: the trace is damaged, or does not tell how its trees grew.
    """
    first, last = _ends(trace)
    return {
        "question": first["question"]["text"],
        "strategy": first["strategy"],
        "seed": first["seed"],
        "engines": first["engines"],
        **{name: last[name] for name in ("answer", "confidence", "status", "calls", "seconds")},
        "nodes": {
            told.node: {"policy": _spent(told.policy), "verifier": _spent(told.verifier)}
            for told in spending(trace)
        },
        "verifiers": {
            tally.verifier: {"verdicts": tally.verdicts, "failures": tally.failures}
            for tally in tallies(trace.events)
        },
        "searches": {tree.node: _searched(figures(tree)) for tree in forest(trace)},
    }


def trace_table(trace: Trace) -> str:
    """The same for people. Raises as `trace_data`."""
    first, last = _ends(trace)
    sure = "" if last["confidence"] is None else f", confidence {last['confidence']:.0%}"
    about = [
        ("question", _line(first["question"]["text"])),
        ("answer", f"{_line(last['answer'] or '-')} ({last['status']}{sure})"),
        ("run", f"{last['calls']:,} calls, {last['seconds']:.1f} s, seed {first['seed']}"),
    ]
    blocks = ["\n".join(f"{name:<10}{text}" for name, text in about), _nodes(spending(trace))]
    asked = [
        f"{t.verifier}: {t.failures:,} of {t.verdicts:,} verdicts failed"
        for t in tallies(trace.events)
    ]
    blocks += ["\n".join(asked)] if asked else []
    blocks += ["\n".join(_search(figures(tree))) for tree in forest(trace)]
    return "\n\n".join(blocks)


def _line(text: str) -> str:
    """Its beginning, without what could move a terminal's cursor."""
    line = "".join(c if c.isprintable() else " " for c in text)
    line = " ".join(line.split())
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST - 3]}..."


def _ends(trace: Trace) -> tuple[dict[str, Any], dict[str, Any]]:
    first, last = dict(trace.events[0]), dict(trace.events[-1])
    for event, needed in (
        (first, ("question", "strategy", "seed", "engines")),
        (last, ("answer", "confidence", "status", "calls", "seconds")),
    ):
        for name in needed:
            if name not in event:
                raise InputError(f"the trace is damaged: its {event['event']} event has no {name}")
    return first, last


def _spent(spent: Spent) -> dict[str, int]:
    usage = spent.usage
    return {
        "calls": spent.calls,
        "fresh": spent.fresh,
        "cached": usage.cached,
        "decoded": usage.decoded,
        "scored": usage.scored,
        "tokens": usage.tokens,
    }


def _searched(told: Figures) -> dict[str, Any]:
    return {name: value for name, value in asdict(told).items() if name != "node"}


def _nodes(told: Sequence[NodeSpending]) -> str:
    """`given` counts all that a model was given, `cached` those of it that were there already."""
    rows: list[tuple[str, ...]] = [_HEADINGS]
    for node in told:
        rows += [
            (node.node, purpose, *_columns(spent))
            for purpose, spent in (("policy", node.policy), ("verifier", node.verifier))
            if spent != Spent()
        ]
    sums = [Spent(calls=s.calls, usage=s.usage) for n in told for s in (n.policy, n.verifier)]
    usage = sum((s.usage for s in sums), Spent().usage)
    rows.append(("all", "", *_columns(Spent(calls=sum(s.calls for s in sums), usage=usage))))
    wide = [max(len(row[i]) for row in rows) for i in range(len(_HEADINGS))]
    return "\n".join(
        "  ".join(
            cell.ljust(room) if i < 2 else cell.rjust(room)
            for i, (cell, room) in enumerate(zip(row, wide, strict=True))
        ).rstrip()
        for row in rows
    )


def _columns(spent: Spent) -> tuple[str, ...]:
    usage = spent.usage
    counts = (spent.calls, usage.prompt, usage.cached, usage.decoded, usage.scored)
    return tuple(f"{count:,}" for count in counts)


def _search(told: Figures) -> Iterator[str]:
    yield f"search {told.node}, steered by {told.verifier}"
    rows = [
        ("grown", f"{_amount(told.grown)}, {told.expansions:,} expansions, depth {told.depth}"),
        ("kept", _share(told.kept, told.grown)),
        ("chosen", _share(told.chosen, told.grown)),
        *((f"  {end}", _share(amount, told.grown)) for end, amount in told.ends.items()),
        ("repeated", _share(told.repeated, told.grown)),
        *([("ahead", f"{told.ahead:,} tokens beyond steps, thrown away")] if told.ahead else []),
        (
            "judged",
            f"{told.judged:,} steps, {told.failures:,} failed, {told.judging:,} tokens for it",
        ),
    ]
    yield from (f"  {name:<12}{text}" for name, text in rows)


def _amount(amount: Amount) -> str:
    return f"{amount.steps:,} steps, {amount.tokens:,} tokens"


def _share(part: Amount, of: Amount) -> str:
    share = f" = {part.tokens / of.tokens:.0%}" if of.tokens else ""
    return f"{part.steps:,} of {of.steps:,} steps, {part.tokens:,} of {of.tokens:,} tokens{share}"
