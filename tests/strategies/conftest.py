"""A context that runs one strategy alone, and candidates for it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from alone import Alone

from ponder.runtime import Finish, Usage
from ponder.verifiers import Candidate, Verdict


@pytest.fixture
def alone() -> Callable[..., Alone]:
    return Alone


def make_attempt(
    index: int,
    text: str,
    *,
    score: float | None = None,
    failure: str | None = None,
    logprobs: tuple[float, ...] | None = (-0.1,),
) -> Candidate:
    judged = score is not None or failure is not None
    return Candidate(
        source="sample",
        index=index,
        text=text,
        finish=Finish.EOS,
        logprobs=logprobs,
        usage=Usage(decoded=len(text)),
        verdict=Verdict(score=score, failure=failure) if judged else None,
    )


@pytest.fixture
def attempt() -> Callable[..., Candidate]:
    return make_attempt
