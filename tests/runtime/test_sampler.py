"""The vectorised sampler against `scripted.truncate`, row by row."""

from __future__ import annotations

import math
import random

import pytest
import torch

from ponder.runtime import InputError, Sampling
from ponder.runtime.runners.sampler import FORBIDDEN, NOT_FINITE, draw, make_rule
from ponder.runtime.script import truncate

VOCABULARY = 700


def settings_of(random: random.Random) -> Sampling:
    bias = {
        random.randrange(VOCABULARY): random.choice([-math.inf, 5.0, -3.0, 0.5]) for _ in range(9)
    }
    return Sampling(
        max_tokens=1,
        temperature=random.choice([0, 0.3, 1.0, 2.5]),
        top_k=random.choice([None, 1, 5, 90, 9999]),
        top_p=random.choice([1.0, 1.0, 0.05, 0.5, 0.9, 0.999]),
        min_p=random.choice([0.0, 0.0, 0.01, 0.4]),
        bias=tuple(bias.items()) if random.random() < 0.5 else (),
    )


def expected(logits: torch.Tensor, params: Sampling, uniform: float) -> tuple[int, float]:
    """The draw, and how near to a border of its interval it fell, relative to the total."""
    # The oracle takes logarithms of probabilities; these come back as the very float32 logits, so
    # that ties stay ties.
    model = {i: math.exp(float(v)) for i, v in enumerate(logits)}
    kept = truncate(model, params)
    total = sum(kept.values())
    point = uniform * total
    token, gap = next(iter(kept)), total
    for token, weight in kept.items():  # noqa: B007 - the last one looked at is drawn
        gap = min(gap, abs(point - weight))
        point -= weight
        if point < 0:
            break
    return token, gap / total


def test_it_draws_what_the_plain_rule_draws() -> None:
    chance = random.Random(5)
    generator = torch.Generator().manual_seed(5)
    compared = 0
    for _ in range(30):
        # Halves make ties; the spread differs by row.
        logits = (torch.randn(8, VOCABULARY, generator=generator) * 6).round() / 2
        rules = [settings_of(chance) for _ in range(8)]
        points = [chance.random() for _ in range(8)]
        draws = draw(logits, [make_rule(r, VOCABULARY) for r in rules], points)
        for row, params, point, got in zip(logits, rules, points, draws, strict=True):
            token, gap = expected(row, params, point)
            if gap > 1e-9:
                compared += 1
                assert got.token == token, (params, point)
                want = float(row[token].double() - row.double().logsumexp(0))
                assert got.logprob == pytest.approx(want, abs=1e-5)
    assert compared > 200


def test_greedy_takes_the_lowest_id_on_ties() -> None:
    logits = torch.zeros(1, VOCABULARY)
    logits[0, [30, 17, 400]] = 2.0
    rule = make_rule(Sampling(max_tokens=1, temperature=0), VOCABULARY)
    assert draw(logits, [rule], [0.99])[0].token == 17


def test_rows_do_not_disturb_each_other() -> None:
    logits = torch.randn(3, VOCABULARY, generator=torch.Generator().manual_seed(0))
    logits[1, 3] = torch.nan
    plain = make_rule(Sampling(max_tokens=1), VOCABULARY)
    nothing = make_rule(
        Sampling(max_tokens=1, bias=tuple((t, -math.inf) for t in range(VOCABULARY))), VOCABULARY
    )
    draws = draw(logits, [plain, plain, nothing], [0.3, 0.3, 0.3])
    assert draws[0] == draw(logits[:1], [plain], [0.3])[0]
    assert [d.fault for d in draws] == ["", NOT_FINITE, FORBIDDEN]


def test_the_ends_of_the_unit_interval_draw_allowed_tokens() -> None:
    logits = torch.full((2, VOCABULARY), -torch.inf)
    logits[:, [5, 9]] = torch.tensor([0.1, 0.7])
    rule = make_rule(Sampling(max_tokens=1), VOCABULARY)
    low, high = draw(logits, [rule, rule], [0.0, 1 - 2**-53])
    assert (low.token, high.token) == (5, 9)


@pytest.mark.parametrize("bias", [(-1, 0.0), (VOCABULARY, 0.0), (0, math.nan), (0, math.inf)])
def test_senseless_bias_is_refused(bias: tuple[int, float]) -> None:
    with pytest.raises(InputError, match="bias"):
        make_rule(Sampling(max_tokens=1, bias=(bias,)), VOCABULARY)
