"""Pruning on the own engine: stretches draw what one go draws, and judging an attempt in the middle
computes what is asked behind it and nothing else, by the engine's true counters.
"""

from __future__ import annotations

import asyncio

import pytest
from tiny_llama import tiny

from ponder.orchestrator import Expression, Result, Runtime, adaptive_best_of, pruned, sample, vote
from ponder.runtime import EngineStats, Finish
from ponder.runtime.engine.engine import LocalEngine
from ponder.verifiers import ExactEquivalence
from ponder.verifiers.restart import RESTART

MODEL = tiny()


def solved(strategy: Expression, seed: int) -> tuple[Result, EngineStats]:
    async def run() -> tuple[Result, EngineStats]:
        engine = LocalEngine(MODEL, pages=600, threads=1)
        try:
            runtime = Runtime(engine, equivalence=ExactEquivalence())
            result = await runtime.solve("How many?", strategy, seed=seed)
            return result, engine.stats()
        finally:
            await engine.close()

    return asyncio.run(run())


def test_stretches_draw_what_one_go_draws() -> None:
    """With a checkpoint at every token, whatever stop string there is begins before one."""
    for seed in range(2):
        free, _ = solved(sample(2, max_tokens=24, name="sample") | vote(), seed)
        text = free.candidates[0].candidate.text
        pairs = (text[i : i + 2] for i in range(4, len(text)))
        stop = next(pair for pair in pairs if pair.isascii() and len(pair) == 2)
        for stops in ((), (stop,)):
            whole, _ = solved(sample(2, max_tokens=24, stop=stops, name="sample") | vote(), seed)
            every = tuple(range(1, 24))
            strategy = pruned(2, at=every, keep=1.0, max_tokens=24, stop=stops, name="sample")
            cut, stats = solved(strategy | vote(), seed)
            for one, other in zip(whole.candidates, cut.candidates, strict=True):
                a, b = one.candidate, other.candidate
                assert (a.text, a.finish) == (b.text, b.finish)
                assert a.logprobs == pytest.approx(b.logprobs, abs=1e-4)
            assert (whole.candidates[0].candidate.finish is Finish.STOP) == bool(stops)
            assert stats.branches == 0


def test_judging_in_the_middle_computes_the_request_only() -> None:
    result, stats = solved(pruned(6, at=(8, 16), keep=0.5, max_tokens=40) | vote(), 1)
    policy, verifier = result.usage.policy, result.usage.verifier
    judged = sum(e["event"] == "call" and e["kind"] == "score" for e in result.trace.events)
    probe = len(RESTART.probe.encode())
    assert judged >= 6 + 3 + 1
    assert verifier.prompt == judged * probe
    assert stats.prefilled == (policy.prompt + verifier.prompt - policy.cached - verifier.cached)
    assert stats.recomputed == 0
    assert stats.branches == 0


def test_a_good_enough_attempt_leaves_nothing_behind() -> None:
    result, stats = solved(
        adaptive_best_of(5, threshold=0.0, parallel=3, max_tokens=30) | vote(), 1
    )
    assert len(result.candidates) == 1
    assert stats.branches == 0
