"""One question to an engine, by everything that decides its answer: what a recording is looked up
with.

A *call* runs on a branch and may give another result when it is made again; a *fact* (how many
tokens a prompt has, what tokens spell) never does.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from hashlib import blake2b

from ponder.runtime.replay.past import Past, packed, prompt_data
from ponder.runtime.seeds import BranchPath
from ponder.runtime.standing import Standing
from ponder.runtime.values import Prompt, Sampling

_NOWHERE = BranchPath(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """See the module."""

    kind: str
    path: BranchPath
    past: str = ""
    """Hash of what the branch held; empty for what needs no branch."""
    given: Mapping[str, object]
    """Parameters, as JSON values."""

    def key(self, engine: str, nth: int = 0) -> bytes:
        """Of the answer that this engine gave when it was asked for the (`nth` + 1)-th time."""
        columns = [engine, self.kind, self.seed, self.steps, self.past, self.parameters, nth]
        return blake2b(json.dumps(columns).encode(), digest_size=16).digest()

    @property
    def seed(self) -> str:
        return str(self.path.seed)

    @property
    def steps(self) -> str:
        return json.dumps(self.path.steps)

    @property
    def parameters(self) -> str:
        return json.dumps(self.given, sort_keys=True)

    @property
    def cut(self) -> Asked:
        """The same, ended by its deadline. That depends on the hour, so it is kept apart from what
        the call gives if it may end.
        """
        return replace(self, given={**self.given, "cut": True})


def opening(path: BranchPath, prompt: Prompt, adapter: str | None) -> Asked:
    return Asked(kind="open", path=path, given={"prompt": prompt_data(prompt), "adapter": adapter})


def reopening(prompt: Prompt, standing: Standing, adapter: str | None) -> Asked:
    given = {"prompt": prompt_data(prompt), "adapter": adapter, "tokens": list(standing.tokens)}
    return Asked(kind="reopen", path=standing.path, given=given)


def sampling_data(params: Sampling) -> dict[str, object]:
    """Equal for equal settings: 1 and 1.0 are written alike. A grammar and a number of tokens for
    confidence are told only where there is one, so that recordings of before stay good.
    """
    numbers = {name: float(getattr(params, name)) for name in ("temperature", "top_p", "min_p")}
    bias = [[token, float(nats)] for token, nats in params.bias]
    told: dict[str, object] = {
        **asdict(params),
        **numbers,
        "stop": list(params.stop),
        "bias": bias,
    }
    unset = set[str]() if params.confidence else {"confidence"}
    if params.grammar is None:
        unset |= {"grammar", "grammar_start"}
    return {name: value for name, value in told.items() if name not in unset}


def count_of(prompt: Prompt) -> Asked:
    return _fact("count", json.dumps(prompt_data(prompt)).encode())


def encoding_of(prompt: Prompt, *, bare: bool) -> Asked:
    return _fact("encode", json.dumps([prompt_data(prompt), bare]).encode())


def spelling_of(tokens: Sequence[int]) -> Asked:
    return _fact("spell", packed(tokens))


VOCABULARY = Asked(kind="vocabulary", path=_NOWHERE, given={})


def resent_by(past: Past) -> Asked:
    return _fact("resent", f"{past.digest} {past.prompt}".encode())


def _fact(kind: str, about: bytes) -> Asked:
    of = blake2b(about, digest_size=16).hexdigest()
    return Asked(kind=kind, path=_NOWHERE, given={"of": of})
