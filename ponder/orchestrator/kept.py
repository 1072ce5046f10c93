"""Candidates as a trace keeps them, and back: all that judging them again takes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from ponder.orchestrator.result import Attempt
from ponder.orchestrator.trace import Trace
from ponder.runtime import Finish, InputError, Message, Usage
from ponder.verifiers import Candidate, Question, Shot, TokenConfidence

FORMAT = 2
"""Of traces; before 2 they did not keep candidates."""


def candidate_data(attempt: Attempt) -> dict[str, Any]:
    """JSON values; without the verdict, which events tell."""
    candidate = attempt.candidate
    return {
        "source": candidate.source,
        "index": candidate.index,
        "answer": attempt.answer,
        "text": candidate.text,
        "finish": candidate.finish.value,
        "logprobs": candidate.logprobs and list(map(_number, candidate.logprobs)),
        "usage": asdict(candidate.usage),
        "weight": candidate.weight,
        **_confidence_data(candidate.token_confidence),
    }


def kept_candidates(trace: Trace) -> tuple[Candidate, ...]:
    """All that the run made, unjudged.

    Raises:
        InputError: the trace is of another format.
    """
    _check_format(trace)
    return tuple(map(_candidate, trace.events[-1]["candidates"]))


def kept_question(trace: Trace) -> Question:
    """Raises `InputError` for a trace of another format."""
    _check_format(trace)
    told: Mapping[str, Any] = trace.events[0]["question"]
    return Question(
        text=told["text"],
        instruction=told["instruction"],
        shots=tuple(Shot(**shot) for shot in told["shots"]),
        history=tuple(Message(**turn) for turn in told["history"]),
        form=told.get("form"),
    )


def _candidate(told: Mapping[str, Any]) -> Candidate:
    logprobs = told["logprobs"]
    return Candidate(
        source=told["source"],
        index=told["index"],
        text=told["text"],
        finish=Finish(told["finish"]),
        logprobs=None if logprobs is None else tuple(map(float, logprobs)),
        usage=Usage(**told["usage"]),
        weight=told.get("weight", 1.0),
        token_confidence=_confidence(told.get("token_confidence")),
    )


def _confidence_data(told: TokenConfidence | None) -> dict[str, Any]:
    """Nothing where it was not asked for."""
    return {} if told is None else {"token_confidence": asdict(told)}


def _confidence(kept: Mapping[str, Any] | None) -> TokenConfidence | None:
    if kept is None:
        return None
    return TokenConfidence(k=kept["k"], values=tuple(map(float, kept["values"])))


def _check_format(trace: Trace) -> None:
    found = trace.events[0].get("format")
    if found != FORMAT:
        raise InputError(
            f"the trace has format {found!r}, and this version of Ponder reads {FORMAT}; use the "
            "version that made it, or run again"
        )


def _number(value: float) -> float | str:
    """JSON has no infinities; `float` reads both."""
    return value if math.isfinite(value) else repr(value)
