"""A branch's past as text, and edits of it. Places in it are counted in Unicode code points, of the
prompt as `render` writes it and of what was said since.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from ponder.runtime.errors import CapabilityError
from ponder.runtime.remote.counting import estimate, estimate_prompt
from ponder.runtime.script import render
from ponder.runtime.tokens import moved
from ponder.runtime.values import Wording


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """What a branch was opened with, and all since then, drawn or given."""

    prompt: Wording
    border: int
    """Where what was said begins."""
    prompt_tokens: int
    """An estimate."""
    said: str = ""

    @staticmethod
    def opened(prompt: Wording, said: str = "") -> History:
        """The prompt is measured once: calls and forks by the thousand ask for its length."""
        return History(
            prompt=prompt,
            border=len(render(prompt)),
            prompt_tokens=estimate_prompt(prompt),
            said=said,
        )

    @property
    def tokens(self) -> int:
        """An estimate."""
        return self.prompt_tokens + estimate(self.said)

    @property
    def length(self) -> int:
        """Of the journal."""
        return self.border + len(self.said)

    @property
    def journal(self) -> str:
        return render(self.prompt) + self.said

    def and_then(self, text: str) -> History:
        return replace(self, said=self.said + text)

    def with_text(self, start: int, stop: int, text: str) -> History:
        """`text` in place of what is from `start` to `stop`.

        Raises:
            CapabilityError: that cuts into chat turns, which stay whole.
        """
        border = self.border
        if start >= border:
            kept, rest = self.said[: start - border], self.said[stop - border :]
            return replace(self, said=kept + text + rest)
        if isinstance(self.prompt, str):
            whole = self.journal
            edited = whole[:start] + text + whole[stop:]
            border = moved(border, start, stop, len(text))
            return History.opened(edited[:border], edited[border:])
        raise CapabilityError(
            f"tokens {start!r} to {stop!r} are in chat turns, which an endpoint keeps whole; edit "
            f"at {border} or behind it"
        )
