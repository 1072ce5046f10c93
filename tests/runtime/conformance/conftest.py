"""Every law runs on every engine of `subjects.ENTRIES`: a law is an `async` test that takes the
fixture `engine`. With `@needs("logits")` it binds those that declare this capability.

`--conformance-table docs/engines.md` writes what was found into the table there.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest
from engine_table import MISSING, NOT_RUN, Findings, write
from subjects import ENTRIES, Entry, Subject

from ponder.runtime import Engine

FINDINGS = pytest.StashKey[Findings]()
LONGEST = 300.0
"""Seconds that a law may take."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--conformance-table", type=Path, help="write what was found into this file")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "needs(*capabilities): the law binds engines with them")
    config.stash[FINDINGS] = Findings()


@pytest.fixture(scope="session", params=ENTRIES, ids=str)
def entry(request: pytest.FixtureRequest) -> Entry:
    found: Entry = request.param
    return found


@pytest.fixture(scope="session")
def runner(entry: Entry) -> Iterator[asyncio.Runner]:
    """One event loop for all laws of an engine, as some engines belong to a loop."""
    lacking = entry.lacks()
    if lacking:
        pytest.skip(lacking)
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture(scope="session")
def subject(entry: Entry, runner: asyncio.Runner) -> Iterator[Subject]:
    with entry.start() as subject:
        yield subject


@pytest.fixture(scope="session")
def shared(subject: Subject, runner: asyncio.Runner) -> Iterator[Engine | None]:
    if not subject.shared:
        yield None
        return
    engine = runner.run(made(subject))
    yield engine
    runner.run(engine.close())


@pytest.fixture
def engine(
    subject: Subject,
    entry: Entry,
    runner: asyncio.Runner,
    shared: Engine | None,
    pytestconfig: pytest.Config,
) -> Iterator[Engine]:
    engine = shared or runner.run(made(subject))
    pytestconfig.stash[FINDINGS].declare(entry.name, subject.version, subject.declared(engine))
    yield engine
    if shared is None:
        runner.run(engine.close())


async def made(subject: Subject) -> Engine:
    """On the loop that it will live on."""
    return subject.make()


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run a law on its engine's loop."""
    law = pyfuncitem.obj
    if not inspect.iscoroutinefunction(law):
        return None
    found: dict[str, Any] = pyfuncitem.funcargs  # Any: fixtures of all kinds
    for mark in pyfuncitem.iter_markers("needs"):
        for capability in mark.args:
            if not getattr(found["subject"].declared(found["engine"]), capability):
                pytest.skip(f"{MISSING}: {capability}")

    wanted = inspect.signature(law).parameters

    async def body(engine: Engine) -> None:
        given = {**found, "engine": engine}
        async with asyncio.timeout(LONGEST):
            await law(**{name: given[name] for name in wanted})

    found["runner"].run(body(found["engine"]))
    if found["subject"].again is not None:
        once_more(pyfuncitem.originalname, body, found)
    return True


def once_more(
    law: str, body: Callable[[Engine], Coroutine[Any, Any, None]], found: dict[str, Any]
) -> None:
    """The law again, on what its first engine left behind."""
    runner, subject = found["runner"], found["subject"]
    runner.run(found["engine"].close())
    if law in subject.exempt:
        pytest.skip(f"{MISSING}: {subject.exempt[law]}")
    engine = subject.again(found["engine"])
    try:
        runner.run(body(engine))
    finally:
        runner.run(engine.close())


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Iterator[None]:  # pytest sends the report through
    report: pytest.TestReport = yield  # type: ignore[assignment]
    entry = getattr(item, "callspec", None) and item.callspec.params.get("entry")  # type: ignore[attr-defined]
    if entry and inspect.iscoroutinefunction(getattr(item, "obj", None)):
        findings = item.config.stash[FINDINGS]
        law = getattr(item, "originalname", item.name)
        if report.failed:
            findings.judge(entry.name, law, "no")
        elif report.skipped:
            said = str(report.longrepr)
            findings.judge(entry.name, law, MISSING if MISSING in said else NOT_RUN)
        elif report.when == "call":
            findings.judge(entry.name, law, "yes")
    return report  # type: ignore[return-value]


def pytest_sessionfinish(session: pytest.Session) -> None:
    target: Path | None = session.config.getoption("--conformance-table", None)
    if target is not None:
        write(target, session.config.stash[FINDINGS], [entry.name for entry in ENTRIES])
