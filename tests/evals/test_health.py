"""Health of verifiers: counted by hand, the hacked told from the merely unlucky, and read from what
real runs leave.
"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from random import Random

import pytest
from scripted_solver import record

from ponder.evals import (
    Asked,
    Health,
    Record,
    Report,
    Rescoring,
    Score,
    Vote,
    find_task,
    finished_run,
    health,
    load_examples,
    report,
    report_table,
    rescore,
    run_task,
)
from ponder.evals.records import from_line, to_line
from ponder.orchestrator import Expression, Runtime, beam, best, judge, sample, vote
from ponder.runtime import ScriptedEngine
from ponder.verifiers import ExactEquivalence


def judged(*said: tuple[float | None, bool], name: str = "q", failures: int = 0) -> Record:
    """One question whose candidates got these scores from a verifier called v."""
    votes = tuple(
        Vote(
            answer="2" if correct else "3",
            group=int(correct),
            correct=correct,
            scores=(Score(verifier="v", score=score),),
        )
        for score, correct in said
    )
    asked = Asked(verifier="v", verdicts=len(votes), failures=failures)
    return record(name, candidates=votes, asked=(asked,))


def alone(records: list[Record]) -> Health:
    (found,) = health(records)
    return found


def test_counts_have_their_denominators() -> None:
    found = alone(
        [
            judged((0.9, True), (None, True), (0.2, False), name="a", failures=1),
            judged((0.6, False), name="b"),
            record("c", candidates=(), outcome="failed", reason="too long"),
        ]
    )
    assert (found.verdicts, found.failures, found.failure_rate) == (4, 1, 0.25)
    assert (found.candidates, found.scored, found.correct, found.questions) == (4, 3, 1, 2)
    assert found.auc.value == 1
    assert found.brier.value == pytest.approx((0.01 + 0.04 + 0.36) / 3)
    assert found.accuracy[1].value == pytest.approx((2 / 3 + 0) / 2)
    assert found.score[1].value == pytest.approx((0.55 + 0.6) / 2)
    assert found.accuracy[2].reason == found.score[2].reason
    assert found.accuracy[2].reason == "1 of 2 questions have fewer candidates"


def test_a_verifier_that_only_failed() -> None:
    found = alone([judged((None, True), (None, False), failures=2)])
    assert found.failure_rate == 1
    assert found.auc.reason == found.brier.reason == found.score[2].reason
    assert found.accuracy[2].value == 0.5, "without scores the best is any"


def test_a_verifier_without_a_verdict() -> None:
    """As when the budget was over before it was asked."""
    records = [record("a", asked=(Asked(verifier="v", verdicts=0, failures=0),))]
    found = alone(records)
    assert (found.failure_rate, found.questions, found.accuracy) == (None, 0, {})
    assert "0 of 0 verdicts" in report_table(of(records))


def of(records: list[Record]) -> Report:
    return report(records, task="t", strategy="s", total=len(records))


def hacked(questions: int, seed: int = 0) -> list[Record]:
    """Right answers score about 0.6; one wrong one of eight scores 0.95."""
    dice = Random(seed)
    made: list[Record] = []
    for i in range(questions):
        said: list[tuple[float | None, bool]] = [(0.6 + dice.random() / 10, True) for _ in range(4)]
        said += [(dice.random() / 2, False) for _ in range(3)] + [(0.95, False)]
        dice.shuffle(said)
        made.append(judged(*said, name=f"q{i}"))
    return made


def test_a_hacked_verifier_is_told() -> None:
    found = alone(hacked(40))
    falls = found.decline
    assert falls is not None
    assert (falls.best, falls.most) == (2, 8)
    assert found.accuracy[8].value == 0
    assert falls.accuracy == pytest.approx(found.accuracy[2].value)
    assert falls.score > 0.2
    shown = report_table(of(hacked(40)))
    assert "choosing by this verifier is overdone" in shown
    assert all(len(line) < 200 for line in shown.splitlines())


def test_few_questions_are_no_evidence() -> None:
    assert alone(hacked(9)).decline is None
    assert alone(hacked(10)).decline is not None


def test_scores_that_say_nothing_are_not_called_hacked() -> None:
    """Falls by chance alone: flagged in at most 5 % of runs, by the test's own level."""
    flagged = 0
    for seed in range(300):
        dice = Random(seed)
        runs = [
            judged(*((dice.random(), dice.random() < 0.4) for _ in range(8)), name=f"q{i}")
            for i in range(30)
        ]
        flagged += alone(runs).decline is not None
    assert flagged <= 25  # binomial(300, 0.05): 25 has a chance below 0.5 %


def test_a_good_verifier_is_not_called_hacked() -> None:
    dice = Random(1)
    runs = [
        judged(
            *((0.5 + (c - 0.5) * dice.random(), c) for c in (True, False, False, True)), name=str(i)
        )
        for i in range(30)
    ]
    found = alone(runs)
    assert found.decline is None
    assert found.auc.value == 1
    assert found.accuracy[4].value == 1


def test_the_order_of_records_does_not_matter() -> None:
    records = hacked(12)
    assert health(records) == health(records[::-1])


def test_records_of_before_scores_were_kept_are_read() -> None:
    line = json.loads(to_line(judged((0.5, True))))
    del line["asked"]
    for candidate in line["candidates"]:
        del candidate["scores"]
    old = from_line(json.dumps(line).encode())
    assert old.candidates[0].scores == ()
    assert old.asked == ()
    assert health([old]) == ()
    assert of([old]).as_dict()["verifiers"] == {}


def test_records_keep_scores() -> None:
    one = judged((0.5, True), (None, False), failures=1)
    assert from_line(to_line(one)) == one


def ran(strategy: Expression, engine: ScriptedEngine, out: Path) -> Report:
    runtime = Runtime(engine, equivalence=ExactEquivalence())
    task = find_task("wordproblems")
    examples = load_examples(task, limit=12, seed=0)
    return asyncio.run(run_task(runtime, task, examples, strategy, label="s", seed=1, out=out))


def test_an_eval_reports_its_verifiers_and_a_rescoring_too(tmp_path: Path) -> None:
    strategy = sample(8) | judge("likelihood") | best()
    made = ran(strategy, ScriptedEngine(), tmp_path / "a")
    (found,) = made.verifiers
    assert (found.verifier, found.verdicts, found.failures) == ("likelihood", 96, 0)
    assert (found.candidates, found.questions) == (96, 12)
    assert list(found.accuracy) == [1, 2, 4, 8]
    assert found.accuracy[1].value == pytest.approx(made.pass_at[1].value)
    # Scores that tie at the top share there; the strategy takes the first of them.
    assert found.accuracy[8].value == pytest.approx(made.accuracy, abs=0.5)
    shown = json.loads(json.dumps(made.as_dict(), allow_nan=False))["verifiers"]["likelihood"]
    assert shown["best_of"]["8"]["accuracy"] == found.accuracy[8].value
    assert "  failed    0 of 96 verdicts = 0.0%" in report_table(made)
    with finished_run(tmp_path / "a") as run:
        again = asyncio.run(
            rescore(
                run,
                Rescoring.by_verifier("likelihood"),
                label="r",
                equivalence=ExactEquivalence(),
            )
        )
    assert again.verifiers == made.verifiers


def test_two_verifiers_are_kept_apart(tmp_path: Path) -> None:
    strategy = sample(4) | judge("likelihood", keep=2) | judge("self_evaluation") | vote("judge")
    first, second = ran(strategy, ScriptedEngine(), tmp_path / "a").verifiers
    assert (first.verifier, first.candidates) == ("likelihood", 48)
    assert (second.verifier, second.candidates) == ("self_evaluation", 24)


def test_a_search_tells_of_its_steps(tmp_path: Path) -> None:
    engine = ScriptedEngine(heads={"score": lambda text: (len(text) % 7 / 7,)})
    search = beam("process_reward", width=4, expand=2, step_tokens=8, max_tokens=64, depth=8)
    (found,) = ran(search | best(), engine, tmp_path / "a").verifiers
    assert found.verifier == "process_reward (steps)"
    assert found.verdicts > found.candidates >= 12
    assert found.failures == 0
    assert found.questions == 12


def test_a_failing_step_verifier_is_counted(tmp_path: Path) -> None:
    engine = ScriptedEngine(heads={"score": lambda text: (1.5,)})
    search = beam("process_reward", width=4, expand=2, step_tokens=8, max_tokens=64, depth=8)
    (found,) = ran(search | best(), engine, tmp_path / "a").verifiers
    assert found.failure_rate == 1
    assert found.auc.reason == "no candidate has a score"
