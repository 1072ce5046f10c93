"""Open a model at an endpoint: is it there, and what can it do?"""

from __future__ import annotations

import asyncio
import json
import time
from concurrent.futures import ThreadPoolExecutor

from ponder.runtime.errors import InputError, unknown
from ponder.runtime.remote.abilities import Abilities
from ponder.runtime.remote.cache import load, recall, remember
from ponder.runtime.remote.calls import get, models
from ponder.runtime.remote.endpoint import Endpoint, endpoint
from ponder.runtime.remote.engine import RemoteEngine
from ponder.runtime.remote.faults import EndpointError, NotFound
from ponder.runtime.remote.probing import probe as find_out
from ponder.runtime.remote.wire import Listed


def connect(
    model: str,
    *,
    base_url: str | None = None,
    api_key: str | None = None,
    timeout: float = 600.0,
    probe: bool = False,
    allow_fallback: bool = False,
    context_length: int | None = None,
    logprobs: bool = True,
) -> RemoteEngine:
    """An engine for `model`. Blocks while it probes, which takes about twenty tiny requests, the
    first time.

    Raises:
        InputError: the endpoint refuses the key, or has no such model.
        ModelError: it is down, or sends what is no reply.
    """
    where = endpoint(base_url, api_key, timeout=timeout)
    abilities = None if probe else recall(where, model)
    if abilities is None:
        # A thread of its own, as the caller's may run an event loop already.
        with ThreadPoolExecutor(max_workers=1) as thread:
            finding = _find(where, model, probe)
            abilities = thread.submit(asyncio.run, finding).result()
    return RemoteEngine(
        where,
        model,
        abilities,
        fallback=allow_fallback,
        context_length=context_length,
        logprobs=logprobs,
    )


async def _find(where: Endpoint, model: str, again: bool) -> Abilities:
    entry, version = await listed(where, model), await _version(where)
    found = None if again else load(where, model, version, now=time.time())
    if found is None:
        context = (entry.max_model_len or entry.context_length) if entry else None
        found = await find_out(where, model, version=version, context_length=context)
        remember(where, model, found)
    return found


async def listed(where: Endpoint, model: str) -> Listed | None:
    """The model's entry; None where the endpoint lists none at all."""
    try:
        entries = await models(where)
    except NotFound:
        return None
    if not entries:
        return None
    found = next((entry for entry in entries if entry.id == model), None)
    if found is None:
        names = [entry.id for entry in entries]
        raise InputError(f"endpoint {where.host!r}: {unknown('model', model, names)}")
    return found


async def _version(where: Endpoint) -> str:
    """As vLLM tells it; "" where there is none to be had."""
    try:
        told: object = json.loads(await get(where, f"{where.root}/version"))["version"]
    except (EndpointError, InputError, ValueError, KeyError, TypeError):
        return ""
    return str(told)
