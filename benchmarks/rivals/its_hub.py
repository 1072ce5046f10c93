"""its-hub as a contender: its self-consistency, and its best-of-N with its own judge, as its own
README calls them; questions at once on one event loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

from its_hub import BestOfN, SelfConsistency
from its_hub.core.lms.openai_lm import OpenAICompatibleLanguageModel
from its_hub.core.orchestrator import LMOrchestrator
from its_hub.core.reward_models.llm_judge import LLMJudge

from benchmarks.rivals.asking import Answered, Ask, boxed, serve


class ItsHub:
    """An `Asker`."""

    def __init__(self) -> None:
        self.versions = {"its-hub": version("its-hub"), "aiohttp": version("aiohttp")}
        self.children: Sequence[int] = ()
        self._loop = asyncio.new_event_loop()
        # The library is untyped here: `Any` stands for its model and algorithm.
        self._model: Any = None
        self._algorithm: Any = None

    def prepare(self, ask: Ask) -> None:
        if self._model is not None:
            self._loop.run_until_complete(self._model.close())
        self._model = OpenAICompatibleLanguageModel(
            endpoint=ask.url, api_key="x", model_name=ask.model, temperature=0.8
        )
        limit = {} if ask.concurrency is None else {"max_concurrency": ask.concurrency}
        orchestrator = LMOrchestrator(**limit)
        if ask.method == "self_consistency":
            self._algorithm = SelfConsistency(boxed, orchestrator=orchestrator)
        else:
            self._algorithm = BestOfN(LLMJudge(self._model), orchestrator=orchestrator)

    def go(self, ask: Ask) -> list[Answered]:
        return self._loop.run_until_complete(self._all(ask))

    async def _all(self, ask: Ask) -> list[Answered]:
        places = asyncio.Semaphore(ask.at_once)

        async def one(question: str) -> Answered:
            async with places:
                return await self._one(question, ask)

        return await asyncio.gather(*map(one, ask.questions))

    async def _one(self, question: str, ask: Ask) -> Answered:
        try:
            async with asyncio.timeout(ask.limit):
                result = await self._algorithm.ainfer(
                    self._model, question, budget=ask.n, return_response_only=False
                )
        except TimeoutError:
            return Answered(late=True)
        except Exception as error:  # told as it is
            return Answered(error=f"{type(error).__name__}: {error}")
        usage = result.usage
        return Answered(
            answer=boxed(result.the_one["content"]),
            told=usage.total_tokens if usage is not None else None,
        )


if __name__ == "__main__":
    serve(ItsHub)
