"""What went wrong at an endpoint, in Ponder's words, and whether trying again may help.

Connection, timeout, 408, 409, 429 and 5xx are worth another try; 400, 401, 403, 404 and 422 are the
user's to mend.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import openai

from ponder.runtime.errors import ContextOverflow, InputError, ModelError, PonderError
from ponder.runtime.remote.endpoint import Endpoint

_LONG = (
    "context_length_exceeded",
    "context length",
    "context size",
    "context window",
    "exceed_context_size",
)


class EndpointError(ModelError):
    """A remote engine failed."""

    def __init__(
        self,
        message: str,
        *,
        retryable: bool,
        after: float | None = None,
        crowded: bool = False,
    ) -> None:
        super().__init__(message, retryable=retryable)
        self.after = after
        """Seconds that the endpoint asked to wait."""
        self.crowded = crowded
        """The endpoint said that there are too many requests."""


class NotFound(InputError):
    """The endpoint has no such address, or no such model."""


def translated(error: Exception, endpoint: Endpoint) -> PonderError:
    """An exception of the client, as one of ours; never holds the key."""
    where = f"endpoint {endpoint.host!r}"
    if isinstance(error, openai.APITimeoutError):
        return EndpointError(
            f"{where} did not answer within {endpoint.timeout:g} seconds", retryable=True
        )
    if isinstance(error, openai.APIStatusError):
        return _status(error, endpoint)
    cause = error.__cause__ or error
    told = f": {type(cause).__name__}: {cause}".rstrip(": ")
    return EndpointError(
        f"{where}: the connection failed or broke{told}; is it up, and is the base URL "
        f"{endpoint.base_url!r} right?",
        retryable=True,
    )


def _status(error: openai.APIStatusError, endpoint: Endpoint) -> PonderError:
    status, where = error.status_code, f"endpoint {endpoint.host!r}"
    words = endpoint.hide(_words(error.response.text))
    said = f"{where} answered {status}: {words}"
    if status in (401, 403):
        return InputError(f"{said}; is the key right? it is read from PONDER_API_KEY")
    if status == 404:
        return NotFound(said)
    told = error.response.text.lower()  # the sign may be in a code, beside the words
    if any(sign in told for sign in _LONG) and status in (400, 413, 422, 500):
        return ContextOverflow(f"{said}; shorten the prompt")
    if status in (408, 409, 429) or status >= 500:
        spent = "insufficient_quota" in error.response.text
        return EndpointError(
            said,
            retryable=not spent,
            after=retry_after(error.response.headers.get("retry-after")),
            crowded=status == 429,
        )
    return InputError(said)


def retry_after(value: str | None) -> float | None:
    """Seconds, from a header that holds seconds or a date; None where it holds neither."""
    if value is None:
        return None
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        then = parsedate_to_datetime(value)
    except ValueError:
        return None
    return max(0.0, (then - datetime.now(then.tzinfo or UTC)).total_seconds())


def _words(body: str) -> str:
    """What an error's body says, short."""
    try:
        found: Any = json.loads(body)  # Any: JSON from the network
    except ValueError:
        return excerpt(body)
    for key in ("error", "message", "detail"):
        found = found.get(key, found) if isinstance(found, dict) else found  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType]
    return excerpt(found if isinstance(found, str) else json.dumps(found))


def excerpt(text: str) -> str:
    line = " ".join(text.split())
    return repr(line if len(line) <= 200 else f"{line[:197]}...")
