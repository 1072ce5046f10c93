"""archon-ai as a contender: a generator and a ranker, or a generator and a component that votes,
which it has none of; questions at once in threads, as its own benchmark script does.
"""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

from archon.completions.archon import Archon as Library
from archon.completions.components import Component
from loguru import logger

from benchmarks.rivals.asking import Answered, Ask, boxed, serve
from benchmarks.rivals.threads import answer_all


class Vote(Component):  # type: ignore[misc]  # untyped here
    """The candidate whose answer is the most common."""

    def __init__(self, config: dict[str, Any]) -> None:  # Any: the library's
        self.config = config

    def run(self, conversation: Any, previous: Any, state: Any) -> None:  # Any: the library's
        candidates = previous["candidates"]
        common = Counter(map(boxed, candidates)).most_common(1)[0][0]
        state["candidates"].append(next(c for c in candidates if boxed(c) == common))


class Archon:
    """An `Asker`."""

    def __init__(self) -> None:
        logger.remove()
        logging.disable(logging.WARNING)
        self.versions = {"archon-ai": version("archon-ai"), "openai": version("openai")}
        self.children: Sequence[int] = ()
        self._archon: Any = None  # Any: untyped here

    def prepare(self, ask: Ask) -> None:
        os.environ |= {"OPENAI_BASE_URL": ask.url, "OPENAI_API_KEY": "x"}
        asked = {"model": ask.model, "model_type": "OpenAI_API"}
        generator = {"type": "generator", "temperature": 0.8, "max_tokens": 64, "samples": ask.n}
        ranker = {"type": "ranker", "temperature": 0.0, "max_tokens": 64, "top_k": 1}
        votes = ask.method == "self_consistency"
        last = {"type": "vote"} if votes else {**ranker, **asked}
        layers = [[{**generator, **asked}], [last]]
        self._archon = Library({"name": "benchmark", "custom": votes, "layers": layers})
        if votes:
            self._archon.add_component("vote", Vote)
            self._archon.initialize()

    def go(self, ask: Ask) -> list[Answered]:
        return answer_all(ask, lambda q: Answered(answer=boxed(self._archon.generate(q))))


if __name__ == "__main__":
    serve(Archon)
