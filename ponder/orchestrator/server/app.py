"""The door: routes, and what happens to every request on its way in and out.

OpenAI's API reference names the routes and forms; `/healthz` and `/metrics` are for whoever
operates the server.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import ExitStack, aclosing
from functools import partial
from importlib.metadata import version
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from ponder.orchestrator.server.access import Access
from ponder.orchestrator.server.answering import Answering, Asked
from ponder.orchestrator.server.catalogue import Catalogue
from ponder.orchestrator.server.clients import ClientGone, Cut, unless_gone
from ponder.orchestrator.server.events import Event, Total
from ponder.orchestrator.server.metrics import Metrics
from ponder.orchestrator.server.refusals import Refusal, refusal
from ponder.orchestrator.server.replies import Header, Reply
from ponder.orchestrator.server.requests import ChatRequest, CompletionRequest, read
from ponder.orchestrator.server.settings import ServerSettings
from ponder.orchestrator.server.streams import GONE, OK, EventStream, texts
from ponder.orchestrator.server.tokenizing import Tokenizing, read_tokenizing
from ponder.orchestrator.solving import Runtime
from ponder.runtime import PonderError, Usage


def make_app(
    runtime: Runtime,
    catalogue: Catalogue,
    settings: ServerSettings,
    access: Access | None = None,
) -> FastAPI:
    """An application that answers with the runtime's engines; they stay their owner's to close.
    `access` is for whoever is going to drain it.
    """
    server = _Server(runtime, catalogue, settings, access or Access(settings))
    app = FastAPI(title="Ponder", docs_url=None, redoc_url=None, openapi_url=None)
    app.add_route("/version", server.version, methods=["GET"])
    app.add_route("/healthz", server.health, methods=["GET"])
    app.add_route("/metrics", server.measured, methods=["GET"])
    app.add_route("/v1/models", server.models, methods=["GET"])
    app.add_route("/v1/models/{name:path}", server.model, methods=["GET"])
    app.add_route("/v1/chat/completions", server.chat, methods=["POST"])
    app.add_route("/v1/completions", server.complete, methods=["POST"])
    app.add_route("/tokenize", server.tokenize, methods=["POST"])
    for kind in (Refusal, PonderError, Exception):
        app.add_exception_handler(kind, _told)
    app.add_exception_handler(HTTPException, _no_route)
    return app


class _Server:
    """Answers requests; counts each as it ends."""

    def __init__(
        self, runtime: Runtime, catalogue: Catalogue, settings: ServerSettings, access: Access
    ) -> None:
        self._catalogue = catalogue
        self._answering = Answering(runtime, catalogue, settings)
        self._access = access
        self._metrics = Metrics(catalogue.engines, lambda: self._access.under_way)
        self._created = int(time.time())
        self._version = version("ponder")

    async def health(self, _: Request) -> Response:
        draining = self._access.draining
        told = {"status": "draining" if draining else "ok"}
        return JSONResponse(
            {**told, "requests_under_way": self._access.under_way},
            status_code=503 if draining else 200,
        )

    async def measured(self, request: Request) -> Response:
        self._access.check_key(request.headers.get("authorization"))
        return Response(self._metrics.text(), media_type="text/plain; version=0.0.4")

    async def models(self, request: Request) -> Response:
        self._access.check_key(request.headers.get("authorization"))
        names = self._catalogue.names
        return JSONResponse({"object": "list", "data": [self._described(name) for name in names]})

    async def model(self, request: Request) -> Response:
        name = str(request.path_params["name"])
        self._access.check_key(request.headers.get("authorization"))
        self._catalogue.check(name)
        return JSONResponse(self._described(name))

    async def version(self, _: Request) -> Response:
        return JSONResponse({"version": self._version})

    async def chat(self, request: Request) -> Response:
        return await self._answer(request, partial(read, ChatRequest), self._reply)

    async def complete(self, request: Request) -> Response:
        return await self._answer(request, partial(read, CompletionRequest), self._reply)

    async def tokenize(self, request: Request) -> Response:
        return await self._answer(request, read_tokenizing, self._tokenized)

    async def _answer(
        self,
        request: Request,
        reading: Callable[[bytes], Any],
        answering: Callable[[Request, Any, _Visit, ExitStack], Awaitable[Response]],
    ) -> Response:
        """`answering` what was read, a place held; whatever happens is counted."""
        visit = _Visit(self._metrics)
        try:
            self._access.check_key(request.headers.get("authorization"))
            asked = reading(await self._body(request))
            self._catalogue.check(asked.model)
            visit.model = asked.model
            with ExitStack() as held:
                held.enter_context(self._access.place())
                return await answering(request, asked, visit, held)
        except ClientGone:
            visit.end(GONE)
            return Response(status_code=GONE)
        except Cut as error:
            visit.end(self._access.stopped().status)
            raise self._access.stopped() from error
        except Exception as error:
            visit.end(refusal(error).status)
            raise

    async def _tokenized(
        self, request: Request, asked: Tokenizing, visit: _Visit, _: ExitStack
    ) -> Response:
        work = self._answering.tokenizing(asked)
        told = await unless_gone(request.receive, self._access.cut, work)
        visit.end(OK)
        return JSONResponse(told)

    async def _reply(
        self, request: Request, asked: Asked, visit: _Visit, held: ExitStack
    ) -> Response:
        seed = self._answering.seed(asked)
        header = _header(asked, seed)
        events = visit.watched(self._answering.events(asked, seed))
        if not asked.stream:
            reply = Reply(header, asked.n)
            await unless_gone(request.receive, self._access.cut, _collect(events, reply))
            visit.end(OK)
            return JSONResponse(reply.whole())
        # What is wrong with a request shows before its first event, while there is a status to say
        # so with.
        first = await unless_gone(request.receive, self._access.cut, _first(events))
        wanted = asked.stream_options is not None and asked.stream_options.include_usage
        source = texts(_chained(first, events), header, asked.n, with_usage=wanted)
        kept = held.pop_all()

        def ended(status: int) -> None:
            kept.close()
            visit.end(status)

        return EventStream(source, self._access, ended)

    async def _body(self, request: Request) -> bytes:
        parts, size = list[bytes](), 0
        try:
            async for part in request.stream():
                size += len(part)
                self._access.check_size(size)
                parts.append(part)
        except ClientDisconnect as error:
            raise ClientGone from error
        return b"".join(parts)

    def _described(self, name: str) -> dict[str, object]:
        told: dict[str, object] = {"id": name, "object": "model", "created": self._created}
        engine = self._catalogue.engines.get(name)
        if engine is None:
            return {**told, "owned_by": "ponder-strategy"}
        context = engine.capabilities.context_length
        return {**told, "owned_by": "ponder-engine", "max_model_len": context}


class _Visit:
    """What is counted of one request when it ends."""

    def __init__(self, metrics: Metrics) -> None:
        self.model = "unknown"
        self._metrics = metrics
        self._started = time.monotonic()
        self._usage = Usage()

    async def watched(self, events: AsyncGenerator[Event]) -> AsyncGenerator[Event]:
        async with aclosing(events):
            async for event in events:
                if isinstance(event, Total):
                    self._usage = event.usage
                yield event

    def end(self, status: int) -> None:
        self._metrics.ended(self.model, status, time.monotonic() - self._started, self._usage)


def _header(asked: Asked, seed: int) -> Header:
    chat = isinstance(asked, ChatRequest)
    return Header(
        id=f"{'chatcmpl' if chat else 'cmpl'}-{uuid.uuid4().hex}",
        created=int(time.time()),
        model=asked.model,
        chat=chat,
        seed=seed,
    )


async def _collect(events: AsyncGenerator[Event], reply: Reply) -> None:
    async with aclosing(events):
        async for event in events:
            reply.take(event)


async def _first(events: AsyncGenerator[Event]) -> Event:
    return await anext(events)


async def _chained(first: Event, events: AsyncGenerator[Event]) -> AsyncGenerator[Event]:
    async with aclosing(events):
        yield first
        async for event in events:
            yield event


async def _told(_: Request, error: Exception) -> Response:
    """Every failure in OpenAI's form; one that is nobody's purpose goes on into the log."""
    refused = refusal(error)
    return JSONResponse(refused.body(), status_code=refused.status, headers=refused.headers())


async def _no_route(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 404
    what = "this route takes another method" if status == 405 else "no such route"
    refused = Refusal(
        status=status,
        message=f"{request.method} {request.url.path}: {what}; docs/server.md lists them",
        kind="invalid_request_error",
        code="not_found",
    )
    return JSONResponse(refused.body(), status_code=status)
