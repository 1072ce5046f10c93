"""What of the vllm engine needs no vLLM. The rest is `test_vllm_engine.py`."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ponder.runtime import InputError, Sampling, Usage, open_engine
from ponder.runtime.vllm.adapters import rank_limit, read_adapters
from ponder.runtime.vllm.counts import Counts
from ponder.runtime.vllm.engine import VllmEngine
from ponder.runtime.vllm.wish import Wish

SAMPLINGS = st.builds(
    Sampling,
    max_tokens=st.just(1),
    temperature=st.floats(0, 5),
    top_k=st.none() | st.integers(1, 100),
    top_p=st.floats(0.01, 1),
    min_p=st.floats(0, 0.9),
    bias=st.lists(
        st.tuples(st.integers(0, 99), st.floats(allow_nan=False, max_value=1e6)), max_size=3
    ).map(tuple),
)
WORDS = st.integers(0, 2**32 - 1)


@given(SAMPLINGS, st.tuples(WORDS, WORDS), st.integers(0, 10**6))
def test_a_wish_is_heard_as_it_was_told(params: Sampling, key: tuple[int, int], start: int) -> None:
    wish = Wish(params=params, key=key, start=start)
    sent = json.loads(json.dumps(wish.told()))  # tuples arrive as lists
    assert Wish.heard(sent) == wish


@pytest.mark.parametrize("foreign", [None, {}, {"other": 1}])
def test_other_requests_have_no_wish(foreign: dict[str, int] | None) -> None:
    assert Wish.heard(foreign) is None


Step = tuple[str, int, int, int]
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["open", "append", "decode", "read"]),
        st.integers(1, 50),
        st.integers(0, 60),
        st.integers(0, 60),
    )
)


def run(counts: Counts, step: Step) -> Usage:
    """A request of `total` tokens, any number of them found and any number new."""
    kind, total, found, other = step
    found = min(found, total - 1)
    if kind == "open":
        return counts.gave(total, 0, found, opened=True)
    if kind == "append":
        return counts.gave(total, min(other, total - 1), found, opened=False)
    if kind == "read":
        taken = min(other, total - found)
        counts.read(total, found, taken)
        return Usage(scored=taken)
    counts.began(total, found)
    for _ in range(other):
        counts.drew()
    counts.drew_in_vain()
    return Usage(decoded=other)


@given(STEPS)
def test_every_token_computed_was_for_something(steps: list[Step]) -> None:
    counts = Counts()
    used = sum((run(counts, step) for step in steps), Usage())
    given_ = counts.prefilled - counts.opened
    done = given_ + counts.decoded + counts.scored + counts.recomputed + counts.dropped
    assert counts.computed == done
    assert min(counts.recomputed, counts.dropped, counts.cached) >= 0
    assert used == Usage(
        prompt=counts.prefilled + counts.cached,
        cached=counts.cached,
        decoded=counts.decoded,
        scored=counts.scored,
    )


def adapter(folder: Path, rank: object) -> Path:
    folder.mkdir()
    (folder / "adapter_config.json").write_text(json.dumps({"r": rank}))
    return folder


def test_adapters_are_numbered_and_the_largest_rank_has_room(tmp_path: Path) -> None:
    paths = {name: adapter(tmp_path / name, rank) for name, rank in (("a", 4), ("b", 17))}
    found = read_adapters(paths)
    assert [(a.number, a.rank) for a in found.values()] == [(1, 4), (2, 17)]
    assert rank_limit(found.values()) == 32
    assert rank_limit([found["a"]]) == 8


@pytest.mark.parametrize("rank", [0, "4", 513])
def test_what_is_no_adapter_is_refused(tmp_path: Path, rank: object) -> None:
    with pytest.raises(InputError, match=r"adapter 'x'.*PEFT"):
        read_adapters({"x": tmp_path})
    with pytest.raises(InputError, match=repr(rank)):
        read_adapters({"x": adapter(tmp_path / "x", rank)})


def test_what_cannot_be_opened_is_refused_before_vllm_starts(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"int8.*float32 or bfloat16"):
        VllmEngine(str(tmp_path), weights="int8")
    with pytest.raises(InputError, match="nothing that vLLM reads"):
        VllmEngine(str(tmp_path / "absent"))
    with pytest.raises(InputError, match=r"'vllm:scripted' does"):
        open_engine("scripted", adapters={"x": tmp_path})
    with pytest.raises(InputError, match="takes no base_url, pages"):
        open_engine(f"vllm:{tmp_path}", pages=3, base_url="http://localhost")


@pytest.mark.skipif(find_spec("vllm") is not None, reason="vLLM is here")
def test_the_extra_is_named_where_vllm_is_missing() -> None:
    with pytest.raises(InputError, match=r"pip install 'ponder\[vllm\]'"):
        open_engine("vllm:org/name")
