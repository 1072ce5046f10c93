"""Errors as OpenAI's clients expect them: a status and `{"error": {...}}`."""

from __future__ import annotations

from typing import Any

from ponder.runtime import (
    BranchClosed,
    CapabilityError,
    ContextOverflow,
    InputError,
    ModelError,
    PonderError,
)


class Refusal(Exception):
    """A request that gets no answer."""

    def __init__(
        self,
        message: str,
        *,
        status: int,
        kind: str,
        code: str | None = None,
        field: str | None = None,
        retry_after: int | None = None,
    ) -> None:
        """`field` is of the request; `retry_after` is in seconds."""
        super().__init__(message)
        self.message = message
        self.status = status
        self.kind = kind
        self.code = code
        self.field = field
        self.retry_after = retry_after

    def body(self) -> dict[str, Any]:
        return {
            "error": {
                "message": self.message,
                "type": self.kind,
                "param": self.field,
                "code": self.code,
            }
        }

    def headers(self) -> dict[str, str]:
        return {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}


def invalid(message: str, *, field: str | None = None, code: str | None = None) -> Refusal:
    """The request cannot be answered as it is."""
    return Refusal(message, status=400, kind="invalid_request_error", code=code, field=field)


def refusal(error: Exception) -> Refusal:
    """What a client is told of `error`; one that is nobody's purpose is not described to it."""
    if isinstance(error, Refusal):
        return error
    if isinstance(error, ContextOverflow):
        return invalid(str(error), field="messages", code="context_length_exceeded")
    if isinstance(error, CapabilityError):
        return invalid(str(error), code="unsupported")
    if isinstance(error, InputError):
        return invalid(str(error))
    if isinstance(error, BranchClosed):
        return Refusal("the server is stopping", status=503, kind="server_error")
    if isinstance(error, ModelError):
        status, wait = (503, 1) if error.retryable else (500, None)
        return Refusal(
            status=status,
            message=str(error),
            kind="server_error",
            code="model_error",
            retry_after=wait,
        )
    if isinstance(error, PonderError):
        return Refusal(str(error), status=500, kind="server_error")
    return Refusal(
        status=500,
        message="the server failed on this request; its log says why",
        kind="server_error",
        code="internal_error",
    )
