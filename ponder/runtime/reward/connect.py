"""Open a reward model at an endpoint: is it there, and which contract does it keep?

Found out by asking, not by its address: a solution of two steps is scored by `/rewards`, or text is
pooled by `/pooling`, and the reply is what it should be.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from ponder.runtime.errors import InputError, ModelError, PonderError
from ponder.runtime.remote.calls import persist, send
from ponder.runtime.remote.connect import listed
from ponder.runtime.remote.endpoint import Endpoint, endpoint
from ponder.runtime.remote.faults import EndpointError
from ponder.runtime.remote.wire import read
from ponder.runtime.reward.contract import Contract, Pools, Shape
from ponder.runtime.reward.engine import RewardEngine
from ponder.runtime.reward.rendering import Rendering, render
from ponder.runtime.reward.wire import Pooling, Solution, newest_pooled, rows_of
from ponder.runtime.seeds import BranchPath
from ponder.runtime.values import Message

_QUESTION = "What is 1 + 1, and what is twice that?"
_TURNS = (Message(role="user", content=_QUESTION),)
_PROBE = Solution(prompt=_TURNS, steps=("1 + 1 = 2.\n\n", "Twice 2 is 4."))
_PATH = BranchPath(0, ("probe",))


def connect(
    model: str, *, base_url: str | None, api_key: str | None = None, timeout: float = 600.0
) -> RewardEngine:
    """An engine for `model`. Blocks while it probes, which takes up to six tiny requests.

    Raises:
        InputError: no address is given, the key is refused, there is no such model, or the endpoint
            keeps neither contract.
        ModelError: it is down, or sends what is no reply.
    """
    if base_url is None:
        raise InputError(
            f"model 'reward:{model}' needs its endpoint's address; give base_url, such as "
            "'http://localhost:8000/v1'"
        )
    where = endpoint(base_url, api_key, timeout=timeout)
    # A thread of its own, as the caller's may run an event loop already.
    with ThreadPoolExecutor(max_workers=1) as thread:
        return RewardEngine(thread.submit(asyncio.run, _find(where, model)).result())


async def _find(where: Endpoint, model: str) -> Contract:
    await listed(where, model)
    brief = replace(where, attempts=min(2, where.attempts))
    own, failed = Contract(endpoint=where, model=model), list[PonderError]()
    if await _tried(brief, failed, lambda: _scores(Contract(endpoint=brief, model=model))):
        return own
    shape = await _tried(brief, failed, lambda: _pools(brief, model))
    if shape is not None:
        pools = Pools(shape=shape, rendering=await _rendering(brief, model))
        return replace(own, pools=pools)
    for error in failed:
        if isinstance(error, ModelError):
            raise error
    raise InputError(
        f"endpoint {where.host!r} has neither {where.base_url}/rewards nor {where.root}/pooling "
        f"for model {model!r}: {'; '.join(map(str, failed))}; docs/rewards.md says what is needed"
    )


async def _tried(
    where: Endpoint, failed: list[PonderError], work: Callable[[], Awaitable[Shape | None]]
) -> Shape | None:
    """What came of it; None, and why, where the endpoint does not keep that contract."""
    try:
        return await persist(where, _PATH, work)
    except (InputError, EndpointError) as error:
        failed.append(error)
        return None


async def _scores(contract: Contract) -> Shape:
    (said,) = await contract.ask([_PROBE])
    if isinstance(said, ModelError):
        raise said
    return Shape.STEPS


async def _pools(where: Endpoint, model: str) -> Shape:
    """By what is said of a text that holds no model's separator."""
    body = {"model": model, "input": [_QUESTION]}
    reply = read(Pooling, await send(where, f"{where.root}/pooling", body), where)
    if len(reply.data) != 1:
        raise EndpointError(
            f"endpoint {where.host!r} pooled {len(reply.data)} texts of 1", retryable=False
        )
    data = reply.data[0].data
    if rows_of(data):
        said = newest_pooled(f"endpoint {where.host!r}", _PROBE, data, stepwise=False)
        if isinstance(said, ModelError):
            raise said
    if data and not isinstance(data[0], list):
        return Shape.WHOLE
    return Shape.TOKENS if rows_of(data) else Shape.STEPS


async def _rendering(where: Endpoint, model: str) -> Rendering:
    turns = [{"role": "user", "content": _QUESTION}]
    for rendering in Rendering:
        try:
            if _QUESTION in await render(where, rendering, model, turns):
                return rendering
        except (InputError, EndpointError):
            continue
    raise InputError(
        f"endpoint {where.host!r} pools text, and does not tell how model {model!r} reads chat "
        "turns; it needs /tokenize and /detokenize, as vLLM has them"
    )
