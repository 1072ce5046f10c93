"""The vllm engine on the real vLLM, beside the own engine on the same weights; what all engines
have in common is in `conformance/`. Runs by `make test-vllm` alone.

Both compute in float32, in another order: logits differ by about 1e-4, so tokens are equal but
where two are as good as equally likely.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from in_process import CONTEXT, MODEL, no_vllm, shared, start
from laws import log_softmax

from ponder.runtime import (
    Branch,
    BranchPath,
    CapabilityError,
    ContextOverflow,
    Engine,
    Finish,
    InputError,
    Message,
    ModelError,
    Sampling,
    load_model,
)

pytestmark = pytest.mark.skipif(bool(no_vllm()), reason=no_vllm())

PATH = BranchPath(5, ("vllm",))
CLOSE = 2e-3
"""Nats by which the two engines may differ."""
BLOCK = 32
"""Tokens a page of vLLM on CPUs; less than one is computed again with each call."""
QUESTIONS = [
    "What is 6 times 7?",
    "A box holds 6 eggs. How many eggs are in 7 boxes?",
    "Name three colours.",
    "Write a line about the sea.",
    "Who wrote Hamlet?",
    "Count from one to ten.",
    "What is the capital of France?",
    "Translate 'good morning' into French.",
    "Give me a recipe for tea.",
    "Why is the sky blue?",
    "Say <|im_end|> twice.",
    "Spell 'naïve' in Unicode: ☃.",
]


def turns(question: str) -> list[Message]:
    return [Message(role="user", content=question)]


@pytest.fixture(scope="module")
def engine() -> Any:
    return shared()


@pytest.fixture(scope="module")
def own() -> Iterator[Engine]:
    from ponder.runtime.engine.engine import LocalEngine

    engine = LocalEngine(load_model(MODEL), pages=2000)
    yield engine
    asyncio.run(engine.close())


async def opened(engine: Engine, text: str = QUESTIONS[0], *steps: str | int) -> Branch:
    return await engine.open(turns(text), path=PATH.child(*steps))


async def as_good(own: Engine, prompt: Branch, drawn: tuple[int, ...], token: int) -> bool:
    """Whether the own engine found `token` as likely as the last of those it drew."""
    (fork,) = prompt.fork(1)
    for each in drawn[:-1]:
        await fork.extend(Sampling(max_tokens=1, temperature=0, bias=((each, 1e4),)))
    logits = await fork.logits()
    return abs(logits[token] - logits[drawn[-1]]) < CLOSE


def test_greedy_replies_are_the_own_engines(engine: Engine, own: Engine) -> None:
    greedy = Sampling(max_tokens=24, temperature=0)

    async def body() -> None:
        theirs = [await opened(engine, q) for q in QUESTIONS]
        got = await asyncio.gather(*(branch.extend(greedy) for branch in theirs))
        for question, segment in zip(QUESTIONS, got, strict=True):
            prompt = await opened(own, question)
            want = await prompt.fork(1)[0].extend(greedy)
            same = 0
            for a, b in zip(segment.tokens, want.tokens, strict=False):
                if a != b:
                    assert await as_good(own, prompt, want.tokens[: same + 1], a), question
                    break
                same += 1
            assert segment.logprobs[:same] == pytest.approx(want.logprobs[:same], abs=CLOSE)
            if same == len(want.tokens):
                assert (segment.text, segment.finish) == (want.text, want.finish)

    asyncio.run(body())


def test_draws_are_the_own_engines(engine: Engine, own: Engine) -> None:
    """A path draws the same on both, where no draw falls on the border between two tokens."""
    settings = [
        Sampling(max_tokens=16),
        Sampling(max_tokens=16, temperature=0.7, top_p=0.9),
        Sampling(max_tokens=16, temperature=2.5, top_k=5, min_p=0.05, bias=((28, 3.0),)),
    ]

    async def body() -> None:
        equal = 0
        for i, params in enumerate(settings):
            drawn: list[list[tuple[int, ...]]] = []
            for each in (engine, own):
                branches = (await opened(each, QUESTIONS[i], i)).fork(6)
                segments = await asyncio.gather(*(b.extend(params) for b in branches))
                drawn.append([segment.tokens for segment in segments])
            assert len(set(drawn[0])) > 1
            equal += sum(a == b for a, b in zip(*drawn, strict=True))
        assert equal >= 16  # of 18

    asyncio.run(body())


def test_prompts_are_the_own_engines(engine: Engine, own: Engine) -> None:
    for question in QUESTIONS:
        assert engine.count(turns(question)) == own.count(turns(question))
        assert engine.count(question) == own.count(question)

    async def body() -> None:
        for question in QUESTIONS:
            theirs, ours = [await opened(each, question) for each in (engine, own)]
            assert theirs.tokens == ours.tokens
            assert engine.spell(theirs.tokens) == own.spell(ours.tokens)

    asyncio.run(body())


def test_scores_and_logits_are_the_own_engines(engine: Engine, own: Engine) -> None:
    texts = [" The answer is 42.", "\n", "", " 42" * 50, "ünïcode"]

    async def body() -> None:
        for question in QUESTIONS[:3]:
            theirs, ours = [await opened(each, question) for each in (engine, own)]
            for _ in range(2):  # the second time, vLLM's cache holds the continuations too
                got, want = [await branch.score(texts) for branch in (theirs, ours)]
                for one, other in zip(got, want, strict=True):
                    assert one.tokens == other.tokens
                    assert one.logprobs == pytest.approx(other.logprobs, abs=CLOSE)
            logits, wanted = [log_softmax(await branch.logits()) for branch in (theirs, ours)]
            assert logits == pytest.approx(wanted, abs=CLOSE)

    asyncio.run(body())


def test_a_rewind_into_a_reply_repeats_its_rest(engine: Engine) -> None:
    async def body() -> None:
        branch = await opened(engine)
        mark = len(branch.tokens)
        first = await branch.extend(Sampling(max_tokens=12))
        for kept in (5, 1, 0):
            branch.rewind(mark + kept)
            rest = await branch.extend(Sampling(max_tokens=12 - kept))
            assert rest.tokens == first.tokens[kept:]

    asyncio.run(body())


def test_what_is_there_is_not_computed_again(engine: Engine) -> None:
    prompt = " ".join(f"Sentence {i} of a long prompt." for i in range(60))

    async def body() -> None:
        first = await engine.open(prompt, path=PATH)
        total = len(first.tokens)
        again = await engine.open(prompt, path=PATH)
        assert again.usage.prompt == total == engine.count(prompt)
        assert total - BLOCK <= again.usage.cached < total
        calls = 0
        before = engine.stats()
        forks = again.fork(8)
        await asyncio.gather(*(fork.extend(Sampling(max_tokens=3)) for fork in forks))
        calls += len(forks)
        await asyncio.gather(*(fork.append(" And so on.") for fork in forks))
        calls += len(forks)
        await asyncio.gather(*(fork.score([f" {i}" for i in range(4)]) for fork in forks))
        calls += 4 * len(forks)
        await again.logits()
        done = engine.stats()
        assert done.recomputed - before.recomputed <= (calls + 1) * BLOCK
        assert done.computed - before.computed < total * 3
        assert all(fork.usage.cached == 0 for fork in forks), "it was never charged to them"

    asyncio.run(body())


def test_a_deadline_cuts_a_decode_short(engine: Engine) -> None:
    async def body() -> None:
        branch = await opened(engine)
        prompt = branch.tokens
        params = Sampling(max_tokens=CONTEXT, bias=((2, float("-inf")),))
        segment = await branch.extend(params, deadline=engine.clock() + 1)
        assert segment.finish is Finish.BUDGET
        assert len(segment.tokens) < CONTEXT - len(prompt)
        assert branch.tokens == (*prompt, *segment.tokens)

    asyncio.run(body())


async def at_rest(engine: Engine) -> None:
    """Wait until vLLM takes no more steps."""
    steps = -1
    for _ in range(60):
        if steps == engine.stats().steps:
            return
        steps = engine.stats().steps
        await asyncio.sleep(0.5)
    raise AssertionError("vLLM goes on for nobody")


def test_what_is_left_is_stopped(engine: Engine) -> None:
    endless = Sampling(max_tokens=CONTEXT, bias=((2, float("-inf")),))

    async def body() -> None:
        branches = (await opened(engine)).fork(4)
        prompt = len(branches[0].tokens)
        streams = [branch.stream(endless) for branch in branches]
        for stream in streams:
            assert (await anext(aiter(stream))).text
        del stream, streams  # dropped, not closed
        await at_rest(engine)
        for branch in branches:
            kept = branch.tokens[prompt:]
            assert 0 < len(kept) == branch.usage.decoded < CONTEXT - prompt
            assert (await branch.extend(Sampling(max_tokens=1))).tokens

    asyncio.run(body())


def test_a_full_context_is_full(engine: Engine) -> None:
    async def body() -> None:
        branch = await engine.open(" a" * (CONTEXT - 3), path=PATH)
        segment = await branch.extend(Sampling(max_tokens=9, bias=((2, float("-inf")),)))
        assert (segment.finish, len(branch.tokens)) == (Finish.LENGTH, CONTEXT)
        assert (await branch.extend(Sampling(max_tokens=9))).tokens == ()
        for call in (branch.append("x"), branch.score(["x"]), branch.logits()):
            with pytest.raises(ContextOverflow, match=str(CONTEXT)):
                await call
        branch.rewind(CONTEXT - 1)
        assert len((await branch.extend(Sampling(max_tokens=9))).tokens) == 1

    asyncio.run(body())


def test_a_bias_that_cannot_be_is_refused(engine: Any) -> None:
    async def body() -> None:
        branch = await opened(engine)
        for bias, words in (
            (((engine.vocabulary_size, 1.0),), "ids are 0 to"),
            (((0, float("nan")),), "finite or -inf"),
            (tuple((t, float("-inf")) for t in range(engine.vocabulary_size)), "leave one token"),
        ):
            with pytest.raises(InputError, match=words):
                await branch.extend(Sampling(max_tokens=1, bias=bias))
        assert (await branch.extend(Sampling(max_tokens=1))).tokens

    asyncio.run(body())


RANK = 4


@pytest.fixture(scope="module")
def adapter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A LoRA adapter as PEFT writes it: random changes of the first layer's queries and values."""
    import torch
    from safetensors.torch import save_file

    folder = tmp_path_factory.mktemp("adapter")
    raw = json.loads((Path(MODEL) / "config.json").read_text())
    random = torch.Generator().manual_seed(3)
    tensors = {}
    heads = {"q_proj": raw["num_attention_heads"], "v_proj": raw["num_key_value_heads"]}
    for name, count in heads.items():
        place = f"base_model.model.model.layers.0.self_attn.{name}"
        shapes = {"A": (RANK, raw["hidden_size"]), "B": (count * raw["head_dim"], RANK)}
        for part, shape in shapes.items():
            tensors[f"{place}.lora_{part}.weight"] = 0.2 * torch.randn(shape, generator=random)
    save_file(tensors, folder / "adapter_model.safetensors")
    settings = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "r": RANK,
        "lora_alpha": RANK,
        "target_modules": list(heads),
        "bias": "none",
    }
    (folder / "adapter_config.json").write_text(json.dumps(settings))
    return folder


def children(process: int) -> list[int]:
    found: list[int] = []
    for task in Path(f"/proc/{process}/task").iterdir():
        with suppress(OSError):
            found += map(int, (task / "children").read_text().split())
    return found + [each for child in found for each in children(child)]


def running(process: int) -> bool:
    """False for one that only waits for its parent to ask how it ended."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def tracks(process: int) -> bool:
    """Whether it is Python's own, which stays as long as the interpreter."""
    return b"resource_tracker" in Path(f"/proc/{process}/cmdline").read_bytes()


def started(**more: Any) -> tuple[Engine, set[int]]:
    """An engine, and its processes."""
    others = set(children(os.getpid()))
    engine: Engine = start(**more)
    new = set(children(os.getpid())) - others
    return engine, {process for process in new if not tracks(process)}


@pytest.fixture(scope="module")
def adapted(adapter: Path) -> Iterator[tuple[Engine, set[int]]]:
    engine, processes = started(adapters={"loud": adapter})
    yield engine, processes
    asyncio.run(engine.close())


def merged(adapter: Path) -> Engine:
    """The own engine on weights that the adapter was added to."""
    from safetensors.torch import load_file

    from ponder.runtime.engine.engine import LocalEngine

    model = load_model(MODEL)
    changes = load_file(adapter / "adapter_model.safetensors")
    weights = dict(model.weights)
    for name in [name for name in changes if ".lora_A." in name]:
        place = name.removeprefix("base_model.model.").replace(".lora_A", "")
        weights[place] = weights[place] + changes[name.replace("lora_A", "lora_B")] @ changes[name]
    return LocalEngine(replace(model, weights=weights), pages=500)


def test_an_adapter_is_its_weights_merged(adapted: tuple[Engine, set[int]], adapter: Path) -> None:
    engine, _ = adapted
    greedy = Sampling(max_tokens=6, temperature=0)

    async def body() -> None:
        own = merged(adapter)
        base = await opened(engine)
        plain = log_softmax(await base.logits())
        loud = await engine.open(turns(QUESTIONS[0]), path=PATH, adapter="loud")
        (fork,) = loud.fork(1)
        changed = log_softmax(await fork.logits())
        ours = await opened(own)
        assert changed == pytest.approx(log_softmax(await ours.logits()), abs=10 * CLOSE)
        assert max(abs(a - b) for a, b in zip(plain, changed, strict=True)) > 0.1
        assert log_softmax(await base.logits()) == pytest.approx(plain, abs=CLOSE)
        assert (await fork.extend(greedy)).tokens == (await ours.extend(greedy)).tokens
        with pytest.raises(CapabilityError, match="did you mean 'loud'"):
            await engine.open("x", path=PATH, adapter="lout")
        assert not engine.capabilities.prompt_logprobs
        with pytest.raises(CapabilityError, match="beside adapters"):
            await loud.score(["x"])
        await own.close()

    asyncio.run(body())


def test_one_engine_serves_several_loops(engine: Engine) -> None:
    async def body() -> tuple[int, ...]:
        branch = await opened(engine)
        return (await branch.extend(Sampling(max_tokens=4))).tokens

    assert asyncio.run(body()) == asyncio.run(body())


LONG = Sampling(max_tokens=1500, bias=((2, float("-inf")),))


async def under_way(engine: Engine) -> tuple[list[Branch], list[asyncio.Task[Any]]]:
    """Branches, and calls on all but the first."""
    root = await opened(engine)
    branches = [root, *root.fork(4)]
    tasks = [asyncio.ensure_future(branch.extend(LONG)) for branch in branches[1:4]]
    await asyncio.sleep(0.5)
    given = asyncio.ensure_future(branches[4].append(" a" * 1500))
    await asyncio.sleep(0)
    return branches, [*tasks, given]


async def all_fail(
    engine: Engine, branches: list[Branch], tasks: list[asyncio.Task[Any]], words: str
) -> None:
    before = [branch.tokens for branch in branches]
    for outcome in await asyncio.gather(*tasks, return_exceptions=True):
        assert isinstance(outcome, ModelError)
        assert words in str(outcome)
    assert [branch.tokens for branch in branches] == before
    for branch in branches:
        with pytest.raises(ModelError, match=words):
            await branch.extend(Sampling(max_tokens=1))
    with pytest.raises(ModelError, match=words):
        await opened(engine)


def test_when_vllm_dies_nobody_waits_for_ever(adapted: tuple[Engine, set[int]]) -> None:
    """The last of those that share this engine."""
    engine, processes = adapted

    async def body() -> None:
        branches, tasks = await under_way(engine)
        os.kill(max(processes), signal.SIGKILL)  # the worker, which was started last
        async with asyncio.timeout(60):
            await all_fail(engine, branches, tasks, "failed")
        await engine.close()
        await engine.close()

    asyncio.run(body())


def test_closing_under_way_fails_calls_and_leaves_no_process() -> None:
    engine, processes = started()

    async def body() -> None:
        branches, tasks = await under_way(engine)
        await engine.close()
        async with asyncio.timeout(60):
            await all_fail(engine, branches, tasks, "closed")
        await engine.close()
        for branch in branches:
            branch.close()
        assert engine.stats().branches == 0

    asyncio.run(body())
    assert processes
    for _ in range(60):
        if not any(map(running, processes)):
            return
        time.sleep(0.5)
    raise AssertionError(f"still running: {processes}")
