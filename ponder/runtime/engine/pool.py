"""The pool of KV pages: a free list and a count of holders for each page.

Counts only; who holds a page and which tokens lie in it is the business of views and of the prefix
tree. A page that two hold is never written (copy on write happens by starting a new page).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from ponder.runtime.errors import ModelError, PoolExhausted
from ponder.runtime.runners.api import PAGE

if TYPE_CHECKING:
    from ponder.runtime.models.config import ModelConfig
    from ponder.runtime.runners.api import Runner


class PagePool:
    """Who may write where: holders a page."""

    def __init__(self, pages: int) -> None:
        self._holders = [0] * pages
        self._free = list(range(pages - 1, -1, -1))
        self._shared = 0

    @property
    def total(self) -> int:
        return len(self._holders)

    @property
    def free(self) -> int:
        return len(self._free)

    @property
    def held(self) -> int:
        return len(self._holders) - len(self._free)

    @property
    def shared(self) -> int:
        """Pages with more than one holder."""
        return self._shared

    def holders(self, page: int) -> int:
        return self._holders[page]

    def allocate(self) -> int:
        """A free page, held once by the caller."""
        if not self._free:
            raise PoolExhausted(f"all {self.total} KV pages are held; open the engine with more")
        page = self._free.pop()
        if self._holders[page]:
            raise ModelError(f"page {page} is free and held: a bug in the engine")
        self._holders[page] = 1
        return page

    def retain(self, pages: Iterable[int]) -> None:
        for page in pages:
            count = self._holders[page]
            if count == 0:
                raise ModelError(f"page {page} is retained but nobody holds it: an engine bug")
            self._holders[page] = count + 1
            self._shared += count == 1

    def release(self, pages: Iterable[int]) -> None:
        for page in pages:
            count = self._holders[page]
            if count == 0:
                raise ModelError(f"page {page} is released twice: a bug in the engine")
            self._holders[page] = count - 1
            self._shared -= count == 2
            if count == 1:
                self._free.append(page)


def default_pages(config: ModelConfig, runner: Runner) -> int:
    """What the runner has memory for, but room for one full context."""
    full = -(-config.context_length // PAGE) + 1
    return max(full, runner.kv_bytes() // runner.page_bytes())
