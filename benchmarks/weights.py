"""What rounding weights costs, on the embedded model or another: perplexity of a fixed text, how
often the likeliest token is the reference's, the largest difference of a logit, and answers to word
problems, greedy, one attempt each.

The text is solutions of GSM8K's training problems where `--text` gives the file (JSON lines with
`question` and `solution`), else word problems made by rule, which go with the project. The
reference of logits is float32, and that of answers bfloat16, with a sign test over the problems on
which only one of the two is right. The last line is JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import get_args

import numpy as np
import torch
from torch import Tensor

from ponder import Runtime, sample, vote
from ponder.evals import find_task, make_examples, solve_with, wilson
from ponder.evals.grading import grade
from ponder.runtime.engine.engine import LocalEngine
from ponder.runtime.models import LoadedModel, load_model
from ponder.runtime.runners.api import PAGE, Work
from ponder.runtime.runners.choice import WeightFormat, choose_runner
from ponder.verifiers import MathEquivalence

FORMATS: tuple[WeightFormat, ...] = get_args(WeightFormat)
REFERENCE: WeightFormat = "bfloat16"
"""Of answers: they are float32's but for a few either way."""
CHUNK = 256
GREEDY = sample(1, temperature=0, max_tokens=96) | vote()


@dataclass(frozen=True, slots=True, kw_only=True)
class Logits:
    """How a format's logits differ from float32's."""

    perplexity: float
    same_token: float
    """Share of places where the likeliest token is the same."""
    difference: float
    """The largest of a logit, over the largest logit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """How a format's answers differ from the reference's."""

    right: int
    of: int
    same: int
    """Problems with the same answer."""
    gained: int
    """Right where the reference is wrong."""
    lost: int
    chance: float
    """Sign test, two-sided: how likely so uneven a split is if neither is better."""


def read_texts(path: Path | None, count: int) -> list[str]:
    if path is None:
        return [f"{made.question}\n{made.solution}" for made in make_examples(7, 3, count)]
    with path.open() as lines:
        rows = [json.loads(line) for _, line in zip(range(count), lines, strict=False)]
    return [f"{row['question']}\n{row['solution']}" for row in rows]


def all_logits(model: LoadedModel, weights: WeightFormat, texts: Sequence[list[int]]) -> Tensor:
    """[places, vocabulary], text after text, without the last place of each."""
    runner = choose_runner(model, weight_format=weights, threads=os.cpu_count() or 1)
    runner.reserve(max(map(len, texts)) // PAGE + 1)
    parts: list[Tensor] = []
    for tokens in texts:
        slots = np.arange(len(tokens))
        for start in range(0, len(tokens), CHUNK):
            chunk = tokens[start : start + CHUNK]
            end = start + len(chunk)
            work = Work(tokens=chunk, slots=slots[:end], wanted=len(chunk))
            parts.append(runner.logits(runner.hidden([work])).clone())
        parts[-1] = parts[-1][:-1]
    return torch.cat(parts)


def compare_logits(got: Tensor, want: Tensor, following: Tensor) -> Logits:
    """`following` is the token after each place."""
    surprise = torch.nn.functional.cross_entropy(got, following).item()
    return Logits(
        perplexity=math.exp(surprise),
        same_token=(got.argmax(-1) == want.argmax(-1)).float().mean().item(),
        difference=((got - want).abs().max() / want.abs().max()).item(),
    )


async def answers(model: LoadedModel, weights: WeightFormat, count: int) -> list[tuple[str, bool]]:
    """Answer and whether it is right, problem by problem."""
    task, examples = find_task("wordproblems"), make_examples(11, 1, count)
    equivalence = MathEquivalence()
    runtime = Runtime(LocalEngine(model, weight_format=weights), equivalence=equivalence)
    solve = solve_with(runtime, GREEDY, task=task)

    async def one(index: int) -> tuple[str, bool]:
        attempt = await solve(examples[index], 11)
        graded = await grade(examples[index].answer, attempt, equivalence)
        return attempt.answer or "", graded.correct

    try:
        return list(await asyncio.gather(*(one(i) for i in range(count))))
    finally:
        await runtime.close()
        await equivalence.close()


def compare_answers(got: list[tuple[str, bool]], want: list[tuple[str, bool]]) -> Answers:
    pairs = [(g[1], w[1]) for g, w in zip(got, want, strict=True)]
    gained, lost = pairs.count((True, False)), pairs.count((False, True))
    return Answers(
        right=sum(right for _, right in got),
        of=len(got),
        same=sum(g[0] == w[0] for g, w in zip(got, want, strict=True)),
        gained=gained,
        lost=lost,
        chance=sign_test(gained, lost),
    )


def sign_test(gained: int, lost: int) -> float:
    n, fewer = gained + lost, min(gained, lost)
    chance: float = 2 * sum(math.comb(n, k) for k in range(fewer + 1)) / 2**n
    return min(1.0, chance)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--model", default="embedded")
    parser.add_argument("--text", type=Path)
    parser.add_argument("--texts", type=int, default=40)
    parser.add_argument("--problems", type=int, default=200)
    given = parser.parse_args()
    model = load_model(given.model)
    texts = [model.tokenizer.encode(text) for text in read_texts(given.text, given.texts)]
    following = torch.tensor([token for tokens in texts for token in tokens[1:]])
    print(f"text: {given.text or 'word problems made by rule'}, {len(following):,} places")
    report: dict[str, dict[str, object]] = {}
    with torch.inference_mode():
        want = all_logits(model, "float32", texts)
        right = asyncio.run(answers(model, REFERENCE, given.problems))
        for name in FORMATS:
            logits = compare_logits(all_logits(model, name, texts), want, following)
            print(
                f"{name:9} perplexity {logits.perplexity:.4f}, same token {logits.same_token:.1%}, "
                f"largest difference {logits.difference:.2%}",
                flush=True,
            )
            got = compare_answers(asyncio.run(answers(model, name, given.problems)), right)
            interval = wilson(got.right, got.of)
            print(
                f"{name:9} right {got.right} of {got.of} "
                f"({interval.low:.1%} to {interval.high:.1%}), same answer as {REFERENCE} "
                f"{got.same}, gained {got.gained}, lost {got.lost}, p = {got.chance:.2g}",
                flush=True,
            )
            report[name] = {**asdict(logits), **asdict(got)}
    print(json.dumps(report))


if __name__ == "__main__":
    main()
