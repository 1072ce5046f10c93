"""Where a remote model lives, and how patient to be with it."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from ponder.runtime.errors import InputError

OPENAI = "https://api.openai.com/v1"
KEYS = ("PONDER_API_KEY", "OPENAI_API_KEY")


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One endpoint and key. Equal ones share a client and a limit."""

    base_url: str
    """Ends before `/chat/completions`, as in `http://localhost:8000/v1`."""
    key: str = field(repr=False)
    timeout: float = 600.0
    """Seconds until an answer, or between two pieces of a stream."""
    attempts: int = 6
    """Tries of one call before its failure is passed on."""
    concurrency: int = 256
    """Requests under way at most; fewer after the endpoint said that there are too many."""

    def __post_init__(self) -> None:
        parts = urlsplit(self.base_url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise InputError(
                f"base URL is {self.base_url!r}; it must be like 'http://localhost:8000/v1'"
            )
        if self.timeout <= 0 or self.attempts < 1 or self.concurrency < 1:
            raise InputError(f"{self!r}: timeout, attempts and concurrency must be above 0")

    @property
    def root(self) -> str:
        """Without `/v1`: where servers keep what OpenAI has no name for."""
        return self.base_url.removesuffix("/v1")

    @property
    def host(self) -> str:
        return urlsplit(self.base_url).netloc.rpartition("@")[2]

    def hide(self, text: str) -> str:
        """The text without the key."""
        return text.replace(self.key, "***") if self.key else text


def endpoint(base_url: str | None, api_key: str | None, *, timeout: float) -> Endpoint:
    """What is not given comes from `OPENAI_BASE_URL`, and `PONDER_API_KEY` or `OPENAI_API_KEY`."""
    url = base_url or os.environ.get("OPENAI_BASE_URL") or OPENAI
    known = (os.environ.get(name) for name in KEYS)
    key = api_key if api_key is not None else next(filter(None, known), "")
    return Endpoint(base_url=url.rstrip("/"), key=key, timeout=timeout)
