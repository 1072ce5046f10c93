"""Who may ask, how much at once, and how large a request may be."""

from __future__ import annotations

import hmac
from collections.abc import Generator
from contextlib import contextmanager

from ponder.orchestrator.server.refusals import Refusal
from ponder.orchestrator.server.settings import ServerSettings


class Access:
    """Counts requests under way; the count is right however they end."""

    def __init__(self, settings: ServerSettings) -> None:
        self._settings = settings
        self._keys = [key.encode() for key in settings.keys]
        self.under_way = 0

    def check_key(self, header: str | None) -> None:
        """Raises `Refusal` for a missing or wrong key; takes the same time for every wrong one."""
        if not self._keys:
            return
        scheme, _, given = (header or "").partition(" ")
        sent = given.strip().encode()
        # Every key is compared, so that time does not tell which one was near.
        matches = [hmac.compare_digest(sent, key) for key in self._keys]
        if scheme.lower() != "bearer" or not any(matches):
            raise Refusal(
                status=401,
                message="no valid API key: send `Authorization: Bearer KEY`",
                kind="authentication_error",
                code="invalid_api_key",
            )

    def check_size(self, size: int) -> None:
        most = self._settings.most_bytes
        if size > most:
            raise Refusal(
                status=413,
                message=f"the body is over {most} bytes, the most this server reads",
                kind="invalid_request_error",
                code="request_too_large",
            )

    @contextmanager
    def place(self) -> Generator[None]:
        """A place among the requests under way; raises `Refusal` when all are taken."""
        most = self._settings.most_requests
        if self.under_way >= most:
            raise Refusal(
                status=429,
                message=f"{most} requests are under way, the most this server answers at once",
                kind="rate_limit_error",
                code="server_busy",
                retry_after=1,
            )
        self.under_way += 1
        try:
            yield
        finally:
            self.under_way -= 1
