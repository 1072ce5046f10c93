"""Samples of a run judged again: no token is drawn, and the run stays as it was."""

from __future__ import annotations

import asyncio
import fcntl
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from ponder.evals import (
    Report,
    Rescoring,
    find_task,
    finished_run,
    load_examples,
    rescore,
    run_task,
)
from ponder.orchestrator import (
    Budget,
    Expression,
    Runtime,
    agreement,
    best,
    confident,
    judge,
    parallel,
    read_trace,
    sample,
    step,
    vote,
    when,
)
from ponder.runtime import (
    CapabilityError,
    Engine,
    InputError,
    NotRecorded,
    RecordingEngine,
    ReplayEngine,
    ScriptedEngine,
)
from ponder.strategies import Stored
from ponder.verifiers import ExactEquivalence

TASK = replace(find_task("wordproblems"), shots=(), instruction="Answer inside a box.")
EXAMPLES = load_examples(TASK, limit=8, seed=5)
EIGHT = sample(8, temperature=1.0, max_tokens=60)
TIMES = ("seconds", "tokens", "tokens_mean", "decoded", "cached", "tokens_per_second", "strategy")


def script(prompt: str) -> Mapping[str, float]:
    if "Is the final answer" in prompt:
        return {"Yes": 1.0 + len(prompt) % 3, "No": 1.0}
    answer = next(e.answer for e in EXAMPLES if e.question in prompt)
    return {
        f"It is \\boxed{{{answer}}}.": 1.0 + len(prompt) % 3,
        "It may be \\boxed{7777}.": 1.5,
        "I cannot tell \ud800.": 0.5,
    }


def run(out: Path, strategy: Expression, engine: Engine | None = None, **options: Any) -> Report:
    async def body() -> Report:
        runtime = Runtime(engine or ScriptedEngine(script), equivalence=ExactEquivalence())
        try:
            return await run_task(
                runtime, TASK, EXAMPLES, strategy, label="s", seed=3, out=out, **options
            )
        finally:
            await runtime.close()

    return asyncio.run(body())


def again(
    source: Path,
    what: Expression | str,
    engine: Engine | Mapping[str, Engine] | None = None,
    out: Path | None = None,
) -> Report:
    if isinstance(what, str):
        rescoring = Rescoring.by_verifier(what)
    else:
        rescoring = Rescoring.by_strategy(what)
    with finished_run(source) as found:
        return asyncio.run(
            rescore(
                found,
                rescoring,
                label="s",
                equivalence=ExactEquivalence(),
                engine=engine,
                out=out,
            )
        )


def figures(report: Report) -> dict[str, object]:
    return {name: v for name, v in report.as_dict().items() if name not in TIMES}


@pytest.fixture(scope="module")
def voted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "voted"
    run(out, EIGHT | vote())
    return out


def content(run: Path) -> dict[str, bytes]:
    return {str(p): p.read_bytes() for p in sorted(run.rglob("*")) if p.is_file()}


@pytest.mark.parametrize(
    "ending",
    [
        vote(),
        judge("likelihood") | best(),
        judge("likelihood", keep=3) | vote(weights="judge"),
        when(agreement() < 0.6, then=judge("likelihood") | best(), otherwise=vote()),
    ],
)
def test_rescoring_is_what_a_run_would_have_said(
    ending: Expression, voted: Path, tmp_path: Path
) -> None:
    before = content(voted)
    got = again(voted, EIGHT | ending)
    assert figures(got) == figures(run(tmp_path / "run", EIGHT | ending))
    assert (got.tokens, got.n) == (0, len(EXAMPLES))
    assert got.correct > 0
    assert content(voted) == before


@pytest.mark.parametrize(
    "ending",
    [
        judge("self_certainty") | best(),
        confident(0.5, measure="lowest", window=8) | vote("confidence"),
    ],
)
def test_confidence_is_stored_with_samples(ending: Expression, voted: Path, tmp_path: Path) -> None:
    sure = sample(8, temperature=1.0, max_tokens=60, confidence=5)
    run(tmp_path / "sure", sure | vote())
    got = again(tmp_path / "sure", sure | ending)
    assert figures(got) == figures(run(tmp_path / "run", sure | ending))
    assert got.tokens == 0


def test_samples_without_confidence_are_not_judged_by_it(voted: Path) -> None:
    with pytest.raises(CapabilityError, match="needs confidence"):
        again(voted, EIGHT | judge("self_certainty") | best())
    report = again(voted, EIGHT | confident(0.5) | vote())
    assert report.failed == report.n == len(EXAMPLES)


def test_fewer_samples_are_the_first_ones(voted: Path, tmp_path: Path) -> None:
    three = sample(3, temperature=1.0, max_tokens=60) | vote()
    assert figures(again(voted, three)) == figures(run(tmp_path / "run", three))


def test_the_best_by_a_verifier_takes_all_samples(voted: Path, tmp_path: Path) -> None:
    want = run(tmp_path / "run", EIGHT | judge("likelihood") | best())
    assert figures(again(voted, "likelihood")) == figures(want)


def test_a_rescored_run_is_a_run(voted: Path, tmp_path: Path) -> None:
    """Kept, resumed as nothing to do, and rescored again; candidates stay what they were."""
    out = tmp_path / "out"
    first = again(voted, EIGHT | judge("likelihood", keep=4) | vote(), out=out)
    kept = content(out)
    assert figures(again(voted, EIGHT | judge("likelihood", keep=4) | vote(), out=out)) == figures(
        first
    )
    assert {k: v for k, v in content(out).items() if "lock" not in k} == {
        k: v for k, v in kept.items() if "lock" not in k
    }
    with pytest.raises(InputError, match="another strategy"):
        again(voted, EIGHT | vote(), out=out)
    assert figures(again(out, EIGHT | vote())) == figures(again(voted, EIGHT | vote()))
    with finished_run(voted) as one, finished_run(out) as other:
        for record in one.records:
            assert one.candidates(record) == other.candidates(record)
            assert one.question(record) == other.question(record)
    with pytest.raises(InputError, match="the run itself"):
        again(voted, EIGHT | vote(), out=voted)


def test_what_asks_a_model_needs_a_recording(voted: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"judge\('self_evaluation'.*up to 8 times.*--replay"):
        again(voted, "self_evaluation")
    judged, file = EIGHT | judge("self_evaluation") | best(), tmp_path / "calls"
    want = run(tmp_path / "judged", judged, RecordingEngine(ScriptedEngine(script), file))
    got = again(voted, "self_evaluation", ReplayEngine(file))
    assert figures(got) == figures(want)
    assert (got.decoded, got.tokens) == (0, want.tokens - drawn_and_given(tmp_path / "judged"))
    other = tmp_path / "other"
    run(tmp_path / "unjudged", EIGHT | vote(), RecordingEngine(ScriptedEngine(script), other))
    with pytest.raises(NotRecorded, match="question 'wordproblems-s5-d1-0'"):
        again(voted, "self_evaluation", ReplayEngine(other))


def drawn_and_given(run: Path) -> int:
    """Tokens of the samples."""
    calls = [e for p in (run / "traces").iterdir() for e in read_trace(p).events]
    return sum(
        e["usage"]["prompt"] + e["usage"]["decoded"]
        for e in calls
        if e["event"] == "call" and e["purpose"] == "policy"
    )


def test_samples_go_to_the_step_by_their_name(tmp_path: Path) -> None:
    two = parallel(sample(4, temperature=0.5), sample(2, temperature=1.0)) | vote()
    want = run(tmp_path / "run", two)
    assert figures(again(tmp_path / "run", two)) == figures(want)
    with pytest.raises(InputError, match="node 'sample' asks for 5 samples, and 4 are stored"):
        again(tmp_path / "run", sample(5) | vote())
    with pytest.raises(InputError, match=r"'x' asks for 1 .* 0 are stored of a node by that name"):
        again(tmp_path / "run", sample(1, name="x") | vote())
    assert again(tmp_path / "run", "likelihood").pass_at.keys() == {1, 2, 4}


@dataclass(frozen=True, slots=True, kw_only=True)
class Own(Stored):
    """A method that makes candidates, and is no sample()."""


def test_what_samples_cannot_stand_for_is_refused(voted: Path) -> None:
    with pytest.raises(
        InputError, match=r"8 of 8 questions .* asks for 9 samples, and 8 are stored"
    ):
        again(voted, sample(9) | vote())
    with pytest.raises(InputError, match="makes candidates in a way of its own"):
        again(voted, step(Own(candidates=())) | vote())


def test_failed_and_cut_questions_stay_so(tmp_path: Path) -> None:
    longest = max(len(e.question) for e in EXAMPLES)
    narrow = ScriptedEngine(script, context_length=longest + len(TASK.instruction) + 10)
    first = run(tmp_path / "narrow", sample(1, max_tokens=60) | vote(), narrow)
    assert first.failed == 1
    assert figures(again(tmp_path / "narrow", sample(1) | vote())) == figures(first)
    run(tmp_path / "cut", EIGHT | vote(), budget=Budget(tokens=250))
    with pytest.raises(InputError, match=r"7 of 8 questions .* asks for 8 samples, and \d are"):
        again(tmp_path / "cut", EIGHT | vote())
    assert again(tmp_path / "cut", "likelihood").n == len(EXAMPLES)


# Bad input: nothing is lost


@pytest.fixture
def copy(voted: Path, tmp_path: Path) -> Path:
    return shutil.copytree(voted, tmp_path / "copy")


def test_a_torn_last_record_is_left_out_and_left_there(copy: Path) -> None:
    records = copy / "records.jsonl"
    records.write_bytes(records.read_bytes()[:-10])
    before = content(copy)
    with finished_run(copy) as found:
        assert (found.torn, len(found.records)) == (True, len(EXAMPLES) - 1)
    assert again(copy, "likelihood").n == len(EXAMPLES) - 1
    assert content(copy) == before


def test_a_run_being_written_is_refused(copy: Path) -> None:
    with (copy / "lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(InputError, match="being written by an eval now"):
            again(copy, "likelihood")
    assert again(copy, "likelihood").n == len(EXAMPLES)
    with finished_run(copy), pytest.raises(InputError, match="in use"):
        run(copy, EIGHT | vote())


def test_what_is_no_whole_run_is_refused(copy: Path, tmp_path: Path) -> None:
    def refused(said: str, path: Path = copy) -> None:
        before = content(path) if path.exists() else {}
        with pytest.raises(InputError, match=said):
            again(path, "likelihood")
        assert (content(path) if path.exists() else {}) == before

    refused("holds no run", tmp_path / "nowhere")
    assert not (tmp_path / "nowhere").exists()
    trace = next((copy / "traces").iterdir())
    whole = trace.read_text()
    events = [json.loads(line) for line in whole.splitlines()]
    trace.write_text("".join(json.dumps({**e, "format": 1}) + "\n" for e in events))
    refused("traces/.* the trace has format 1, and this version of Ponder reads 2")
    trace.write_text(whole[:-30])
    refused("damaged in line")
    trace.unlink()
    refused("cannot be read")
    settings = json.loads((copy / "run.json").read_text())
    del settings["seed"]
    (copy / "run.json").write_text(json.dumps(settings))
    refused("does not say the seed: another version")
    (copy / "run.json").write_text("{")
    refused("damaged")
    (copy / "records.jsonl").write_bytes(b"")
    (copy / "run.json").write_text(json.dumps({**settings, "seed": 3}))
    refused("no records yet")
    (copy / "records.jsonl").write_bytes(b'{"id": 3}\n')
    refused("line 1 is damaged")


def test_another_role_is_asked_where_the_runs_own_model_is_not(tmp_path: Path) -> None:
    run(tmp_path / "run", EIGHT | vote())
    asked = judge("self_evaluation", engine="judge")
    small = sample(2, temperature=1.0, max_tokens=60)
    engine = ScriptedEngine(script, name="another")
    report = again(tmp_path / "run", small | asked | best(), engine={"judge": engine})
    assert report.n == len(EXAMPLES)
    assert engine.stats().scored > 0 == engine.stats().decoded
    assert engine.stats().branches == 0
    with pytest.raises(InputError, match="give --replay FILE"):
        again(tmp_path / "run", small | judge("self_evaluation") | best(), engine={"judge": engine})
    with pytest.raises(InputError, match="role 'judge'"):
        again(tmp_path / "run", small | asked | best())
