"""What the orchestration benchmark measures. Each metric gives rows: a case, a contender, numbers.

A number is a list with one entry a round; `report.py` makes medians of them. Beam search and
particle filters are not measured yet: each is a method of `Ask` and of the drivers, and a case of
`counted`.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from benchmarks.overhead.bench import OWN, Bench, Measured
from benchmarks.overhead.script import Settings, question, solution
from benchmarks.rivals.asking import Ask

SLOW = 10.0
"""Seconds; a case that takes longer is measured once."""
FIXED = Settings(delay=0.05)
FAULTY = Settings(delay=0.005, errors=0.05, hangs=0.01, malformed=0.02, seed=3)
SIZES = (8, 32, 64, 128, 512)
SLOWEST = {"archon"}
"""Takes 25 ms of CPU a request and sends one after the other: gets fewer questions."""


@dataclass(slots=True, kw_only=True)
class Row:
    metric: str
    case: str
    contender: str
    numbers: dict[str, list[float]] = field(default_factory=dict[str, list[float]])
    note: str = ""
    """Why numbers are missing, or what to know of them."""

    def add(self, numbers: Mapping[str, float]) -> None:
        for name, number in numbers.items():
            self.numbers.setdefault(name, []).append(number)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One thing to measure of all contenders."""

    name: str
    ask: Callable[[str], Ask]
    """Given the contender's name."""
    settings: Settings
    numbers: Callable[[Measured], Mapping[str, float]]
    own: str = ""
    """Where not empty, measured of Ponder only, which goes by this name."""
    warm: bool = False
    """Done once before, not counted."""

    def contenders(self, bench: Bench) -> dict[str, str]:
        """By the name it goes by."""
        if self.own:
            return {self.own: OWN} if OWN in bench.names else {}
        return {name: name for name in bench.names}


def questions(count: int) -> list[str]:
    return [question(number) for number in range(count)]


def right(answers: Sequence[Mapping[str, object]]) -> int:
    return sum(each["answer"] == str(solution(i)) for i, each in enumerate(answers))


def measured(metric: str, cases: Sequence[Case], bench: Bench, rounds: int) -> Iterator[Row]:
    """All cases of all contenders in random order, round by round."""
    chance = random.Random(metric)
    todo = [(case, title) for case in cases for title in case.contenders(bench)]
    rows = {
        (case.name, title): Row(metric=metric, case=case.name, contender=title)
        for case, title in todo
    }
    for case, title in [*todo] if any(case.warm for case in cases) else []:
        name = case.contenders(bench)[title]
        bench.measure(name, case.ask(name), case.settings)
    for _ in range(rounds):
        chance.shuffle(todo)
        for case, title in list(todo):
            row, name = rows[case.name, title], case.contenders(bench)[title]
            done = bench.measure(name, case.ask(name), case.settings)
            row.note = trouble(case.ask(name), done) or row.note
            if done.failure is None:
                row.add(case.numbers(done))
            if done.failure is not None or done.seconds > SLOW:
                todo.remove((case, title))
    yield from rows.values()


def trouble(ask: Ask, done: Measured) -> str:
    """What to know of a measurement that did not go well."""
    if done.failure is not None:
        return f"hang ({done.failure})" if done.hangs else done.failure
    lates, requests = sum(each["late"] for each in done.answered), done.counts["requests"]
    if lates:
        return f"hang: {lates} not answered within {ask.limit:.0f} s, {requests} requests came"
    errors = [each["error"] for each in done.answered if each["error"] is not None]
    return f"raised {len(errors)} times: {errors[0]}"[:200] if errors else ""


def cpu(bench: Bench, rounds: int) -> Iterator[Row]:
    """A: CPU and wall of a request and of a sample, without any delay: 32 questions of 32."""

    def ask(model: str) -> Callable[[str], Ask]:
        return lambda name: Ask(
            method="self_consistency",
            questions=questions(4 if name in SLOWEST else 32),
            n=32,
            url=bench.endpoint.url(),
            model=model,
            at_once=32,
            limit=120.0,
        )

    def numbers(done: Measured) -> Mapping[str, float]:
        requests, samples = done.counts["requests"], done.counts["choices"]
        return {
            "cpu ms a request": done.cpu * 1000 / requests,
            "wall ms a request": done.seconds * 1000 / requests,
            "cpu ms a sample": done.cpu * 1000 / samples,
            "wall ms a sample": done.seconds * 1000 / samples,
            "requests": requests,
        }

    none = Settings()
    cases = [
        Case(name=name, ask=ask(model), settings=none, numbers=numbers, warm=True)
        for name, model in (("n honoured", "shared"), ("one sample a request", "single"))
    ]
    yield from measured("cpu", cases, bench, rounds)


def flight(bench: Bench, rounds: int) -> Iterator[Row]:
    """B, C: one question of N samples at 50 ms, by both names of this machine."""

    def ask(n: int, host: str, *, wide: bool) -> Callable[[str], Ask]:
        return lambda name: Ask(
            method="self_consistency",
            questions=questions(1),
            n=n,
            url=bench.endpoint.url(host),
            model="single",
            at_once=1,
            concurrency=n if wide else None,
            limit=10.0 + 0.1 * n,
        )

    def numbers(done: Measured) -> Mapping[str, float]:
        counts, [one] = done.counts, done.answered
        return {
            "wall s": done.seconds,
            "most in flight": counts["most_in_flight"],
            "mean in flight": counts["mean_in_flight"],
            "connections": counts["connections"],
            "requests": counts["requests"],
            "answered": float(one["answer"] is not None),
        }

    cases = [
        Case(
            name=f"N={n} {host}",
            ask=ask(n, host, wide=False),
            settings=FIXED,
            numbers=numbers,
        )
        for host in ("localhost", "127.0.0.1")
        for n in SIZES
    ]
    cases += [
        Case(
            name=f"N={n} 127.0.0.1",
            ask=ask(n, "127.0.0.1", wide=True),
            settings=FIXED,
            numbers=numbers,
            own="ponder, concurrency N",
        )
        for n in SIZES[3:]
    ]
    yield from measured("flight", cases, bench, rounds)


def counted(bench: Bench, rounds: int) -> Iterator[Row]:
    """D, G: prompt tokens sent, and of them repeated; tokens told over tokens true."""

    def ask(method: str, n: int, model: str) -> Callable[[str], Ask]:
        return lambda name: Ask(
            method=method,  # type: ignore[arg-type]  # one of the two
            questions=questions(8),
            n=n,
            url=bench.endpoint.url(),
            model=model,
            at_once=8,
            limit=60.0,
        )

    def numbers(done: Measured) -> Mapping[str, float]:
        counts = done.counts
        told = [each["told"] for each in done.answered]
        found = {
            "requests": counts["requests"],
            "prompt tokens": counts["prompt_tokens"],
            "repeated %": 100 * counts["repeated_tokens"] / counts["prompt_tokens"],
            "true tokens": counts["told_tokens"],
        }
        if None not in told:
            found["told / true"] = sum(told) / counts["told_tokens"]
        return found

    cases = [
        Case(
            name=f"{title} {n}, {how}",
            ask=ask(method, n, model),
            settings=Settings(),
            numbers=numbers,
        )
        for method, title, n in (
            ("self_consistency", "self-consistency", 32),
            ("best_of_n", "best of", 8),
        )
        for model, how in (("shared", "n honoured"), ("single", "one a request"))
    ]
    yield from measured("counted", cases, bench, rounds)


def faults(bench: Bench, rounds: int) -> Iterator[Row]:
    """H: 5 % errors, 1 % hangs, 2 % malformed; a question may take 20 s, a request 2 s where that
    can be told.
    """

    def ask(method: str, model: str) -> Callable[[str], Ask]:
        return lambda name: Ask(
            method=method,  # type: ignore[arg-type]  # one of the two
            questions=questions(64),
            n=8,
            url=bench.endpoint.url(),
            model=model,
            at_once=16,
            limit=20.0,
            timeout=2.0,
        )

    cases = [
        Case(
            name=f"{title}, {how}",
            ask=ask(method, model),
            settings=FAULTY,
            numbers=fate,
        )
        for method, title in (
            ("self_consistency", "self-consistency 8"),
            ("best_of_n", "best of 8"),
        )
        for model, how in (("shared", "n honoured"), ("single", "one a request"))
    ]
    yield from measured("faults", cases, bench, rounds)


def fate(done: Measured) -> Mapping[str, float]:
    """Silent is an answer from fewer whole replies than were asked for, when nothing says so."""
    answered, silent = 0, 0
    for place, each in enumerate(done.answered):
        samples, _, unjudged = done.counts["problems"].get(str(place), (0, 0, 0))
        short = samples < 8 or unjudged > 0
        if each["answer"] is not None:
            answered += 1
            silent += short and not each["flagged"]
    total, lates = len(done.answered), sum(each["late"] for each in done.answered)
    return {
        "answered %": 100 * answered / total,
        "right %": 100 * right(done.answered) / total,
        "silent degradations": silent,
        "errors raised": sum(each["error"] is not None for each in done.answered),
        "never ended": lates,
        "requests": done.counts["requests"],
        "wall s": done.seconds,
    }


def determinism(bench: Bench, rounds: int) -> Iterator[Row]:
    """I: the same work twice with the same seed: are the answers and the request log the same?"""

    def ask(model: str) -> Callable[[str], Ask]:
        return lambda name: Ask(
            method="self_consistency",
            questions=questions(8 if name in SLOWEST else 32),
            n=4,
            url=bench.endpoint.url(),
            model=model,
            at_once=8,
            seed=5,
        )

    for model, case in (("shared", "n honoured"), ("single", "one sample a request")):
        for name in bench.names:
            row = Row(metric="determinism", case=case, contender=name)
            for _ in range(rounds):
                one, two = (bench.measure(name, ask(model)(name), Settings()) for _ in range(2))
                answers = [[a["answer"] for a in done.answered] for done in (one, two)]
                logs = [done.counts["log"] for done in (one, two)]
                same = {"same answers": answers[0] == answers[1], "same log": logs[0] == logs[1]}
                row.add({key: float(value) for key, value in same.items()})
                row.note = one.failure or two.failure or ""
            yield row


def many(bench: Bench, rounds: int) -> Iterator[Row]:
    """K: 64 questions, best of 8, 32 requests at once where that can be told, at 50 ms."""

    def ask(name: str) -> Ask:
        return Ask(
            method="best_of_n",
            questions=questions(64),
            n=8,
            url=bench.endpoint.url(),
            model="single",
            at_once=32,
            concurrency=32,
            limit=120.0,
        )

    def numbers(done: Measured) -> Mapping[str, float]:
        counts = done.counts
        return {
            "wall s": done.seconds,
            "cpu s": done.cpu,
            "requests": counts["requests"],
            "mean in flight": counts["mean_in_flight"],
            "most in flight": counts["most_in_flight"],
            "connections": counts["connections"],
            "right %": 100 * right(done.answered) / len(done.answered),
        }

    case = Case(name="64 x best of 8", ask=ask, settings=FIXED, numbers=numbers)
    yield from measured("many", [case], bench, rounds)
