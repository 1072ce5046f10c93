"""Seeds are paths: the generator against its published vectors, and the laws of paths."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ponder.runtime import BranchPath
from ponder.runtime.seeds import philox, uniform, uniforms


def test_philox_known_answers() -> None:
    """Known-answer vectors of Random123 for philox4x32, 10 rounds."""
    ones = 0xFFFFFFFF
    assert philox((0, 0, 0, 0), (0, 0)) == (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)
    assert philox((ones,) * 4, (ones,) * 2) == (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)
    pi = (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344)
    assert philox(pi, (0xA4093822, 0x299F31D0)) == (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1)


@given(st.integers(), st.lists(st.one_of(st.text(), st.integers())), st.integers(0, 2**63))
def test_draws_are_pure_and_in_range(seed: int, steps: list[str | int], position: int) -> None:
    path = BranchPath(seed, tuple(steps))
    draw = path.uniform(position)
    assert 0 <= draw < 1
    assert draw == BranchPath(seed).child(*steps).uniform(position)


@given(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1), st.integers(0, 2**60))
def test_many_draws_at_once_are_the_draws(first: int, second: int, start: int) -> None:
    key = (first, second)
    expected = [uniform(key, start + i) for i in range(5)]
    assert uniforms(key, start, 5).tolist() == expected


def test_draws_of_a_path_are_its_uniforms_in_any_order() -> None:
    path = BranchPath(3, ("propose", 1))
    drawn = path.draws()
    for k in (0, 31, 32, 300, 255, 256, 1000, 40):
        assert drawn(k) == path.uniform(k)


def test_paths_do_not_collide_across_types() -> None:
    several: list[tuple[str | int, ...]] = [(), (1,), ("1",), (1, 1), ("1", 1), (11,), ("1/1",)]
    paths = [BranchPath(0, steps) for steps in several]
    assert len({path.key() for path in paths}) == len(paths)


def test_draws_are_uniform() -> None:
    """4,000 draws over 20 bins: chi-square with 19 degrees of freedom stays under its 1e-4
    quantile, 50.8.
    """
    draws = [BranchPath(7, ("n", i)).uniform(p) for i in range(40) for p in range(100)]
    counts = [0] * 20
    for draw in draws:
        counts[int(draw * 20)] += 1
    assert sum((c - 200) ** 2 / 200 for c in counts) < 50.8
