"""What a JSON Schema costs a token: our engine and vLLM with and without one, and llguidance's
masks by themselves.

Each contender is a process of its own; they take turns within a round. A stream's cost is the time
of a step with the schema less that without, in microseconds a token drawn.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace

from benchmarks.contenders import Contender, Failure, Running, ponder, rival
from benchmarks.rivals.protocol import Samples
from benchmarks.sampling.schema import SCHEMA, prompt
from benchmarks.sampling.table import Given, Table
from ponder.runtime import Grammar, LoadedModel, Vocabulary, load_model

STREAMS = (1, 16)
TOKENS = 96
BACKENDS = ("xgrammar", "guidance")


def contenders() -> Iterator[Contender]:
    yield ponder("float32")
    yield ponder("bfloat16")
    for backend in BACKENDS:
        yield replace(rival("", "vllm_cpu", "hugging_face", backend), name=f"vllm_{backend}")


def tables(given: Given) -> Iterator[Table]:
    rounds, tokens = (1, 16) if given.quick else (given.rounds, TOKENS)
    model = load_model("embedded")
    rows: list[tuple[str, list[object]]] = []
    notes = [f"{tokens} tokens a stream at temperature 1; medians of {rounds} rounds [least, most]"]
    for contender in contenders():  # one after another: two cores hold one engine at a time
        try:
            with ExitStack() as held:
                running = Running(contender)
                held.callback(running.close)
                rows.append((contender.name, _measured(running, model, rounds, tokens)))
        except Failure as failure:
            notes.append(f"{contender.name}: {failure}")
    rows.append(("llguidance, masks alone", _alone(model, tokens, rounds)))
    yield Table(
        title="JSON Schema: tokens a second, and microseconds a token that the schema adds",
        columns=[
            f"{what}, {streams} streams"
            for streams in STREAMS
            for what in ("free", "held", "added us")
        ],
        rows=rows,
        notes=notes,
    )


def _measured(running: Running, model: LoadedModel, rounds: int, tokens: int) -> list[object]:
    cells: list[object] = []
    for streams in STREAMS:
        seconds: Mapping[str, list[float]] = {"": [], SCHEMA: []}
        for turn in range(rounds + 1):
            for place, (schema, found) in enumerate(seconds.items()):
                said = prompt(model, 1000 * streams + 2 * turn + place)
                work = Samples(
                    prompt=said.tokens,
                    text=said.text,
                    seed=said.seed,
                    branches=streams,
                    tokens=tokens,
                    schema=schema,
                )
                spent = running.seconds(work)
                if turn:  # the first compiles, and warms up
                    found.append(spent)
        free, held = seconds[""], seconds[SCHEMA]
        drawn = streams * tokens
        print(f"{running.description[:40]} {streams}: {free} {held}", file=sys.stderr)
        cells += [_spread([drawn / s for s in free]), _spread([drawn / s for s in held])]
        added = [1e6 * (b - a) / drawn for a, b in zip(free, held, strict=True)]
        cells.append(_spread(added))
    return cells


def _alone(model: LoadedModel, tokens: int, rounds: int) -> list[object]:
    """Following a text and computing each mask, on one thread, without a model."""
    tokenizer = model.tokenizer
    vocabulary = Vocabulary(tokenizer.spellings(), tokenizer.end_tokens, model.config.vocabulary)
    grammar = Grammar(kind="json_schema", text=SCHEMA)
    text = tokenizer.encode(TEXT)[:tokens]
    spent: list[float] = []
    for _ in range(rounds):
        follower = vocabulary.follow(grammar, ())
        started = time.perf_counter()
        for token in text:
            follower.marks()
            follower.push(token)
        spent.append(1e6 * (time.perf_counter() - started) / len(text))
    return [None, None, _spread(spent), None, None, None]


TEXT = (
    '{"orders": [{"id": 1, "status": "open", "customer": "Anna Smith", "address": {"street": '
    '"12 High Street", "city": "Paris", "country": "FR"}, "lines": [{"product": "blue lamp", '
    '"quantity": 2, "price": 19.5, "gift": false}, {"product": "chair", "quantity": 1, "price": '
    '45, "gift": true}], "note": null}, {"id": 2, "status": "paid", "customer": "Bo Li"'
)


def _spread(values: Sequence[float]) -> str:
    middle = statistics.median(values)
    return f"{middle:,.0f} [{min(values):,.0f}, {max(values):,.0f}]"
