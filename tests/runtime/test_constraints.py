"""Which tokens a grammar allows, against enumeration; and draws under it on the own engine, against
the model's own logits, renormalised token by token.
"""

from __future__ import annotations

import asyncio
import json
import math
import re
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import wraps
from typing import Annotated, Any, Literal

import numpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, Field, create_model
from tiny_llama import CONFIG, EOS, tiny

from ponder.runtime import BranchPath, Finish, Grammar, InputError, LoadedModel, Sampling
from ponder.runtime.constraints.following import Vocabulary
from ponder.runtime.engine.engine import LocalEngine
from ponder.runtime.kernels import native
from ponder.runtime.replay.asked import sampling_data

MODEL = tiny(replace(CONFIG, head_dim=16), seed=8)
ENDLESS = tiny(replace(CONFIG, head_dim=16), seed=8, ends=False)
KERNELS: list[Any] = ["torch", *(["native"] if native.instruction_sets() else [])]
PATH = BranchPath(3, ("constraints",))
BYTES = [bytes([byte]) for byte in range(256)]
DIGITS = Grammar(kind="regex", text="[0-9]+(,[0-9]+)*")


@asynccontextmanager
async def opened(kernels: Any = "torch", model: LoadedModel = MODEL) -> AsyncIterator[LocalEngine]:
    engine = LocalEngine(model, pages=800, threads=1, kernels=kernels)
    try:
        yield engine
    finally:
        await engine.close()


def looped(law: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    @wraps(law)
    def run(*given: Any, **named: Any) -> None:
        asyncio.run(law(*given, **named))

    return run


def of(words: Sequence[str]) -> Grammar:
    return Grammar(kind="regex", text="|".join(f"({re.escape(word)})" for word in words))


texts = st.text("ab1", max_size=5)
languages = st.lists(texts.filter(bool), min_size=1, max_size=6, unique=True)
vocabularies = st.lists(st.text("ab1", min_size=1, max_size=3), max_size=8, unique=True)


@given(languages, vocabularies, st.data())
def test_exactly_those_tokens_are_allowed_that_something_goes_on_with(
    words: list[str], longer: list[str], data: st.DataObject
) -> None:
    spelt = ["a", "b", "1", *(token for token in longer if len(token) > 1), "", "a"]
    end, size = len(spelt), len(spelt) + 2
    spellings = [*(token.encode() or None for token in spelt), b"<end>"]
    follower = Vocabulary(spellings, frozenset([end]), size).follow(of(words), [])
    said = ""
    for _ in range(8):
        marks = numpy.flatnonzero(follower.marks()).tolist()
        fitting = [
            i for i, t in enumerate(spelt) if t and any(w.startswith(said + t) for w in words)
        ]
        assert marks == fitting + ([end] if said in words else [])
        if not fitting:
            break
        token = data.draw(st.sampled_from(fitting))
        follower.push(token)
        said += spelt[token]
    assert follower.complete == (said in words)


@given(languages, st.data())
def test_a_follower_is_brought_up_to_any_text(words: list[str], data: st.DataObject) -> None:
    vocabulary = Vocabulary(BYTES, frozenset(), 256)
    grammar, kept = of(words), None
    for _ in range(4):
        word = data.draw(st.sampled_from(words))
        text = list(word[: data.draw(st.integers(0, len(word)))].encode())
        kept = vocabulary.follow(grammar, text, kept)
        fresh = vocabulary.follow(grammar, text)
        assert kept.complete == fresh.complete
        assert kept.complete or (kept.marks() == fresh.marks()).all()


def inverse(masses: dict[int, float], point: float) -> int:
    """The inverse CDF over token ids."""
    left = point * math.fsum(masses.values())
    for token in sorted(masses):
        left -= masses[token]
        if left < 0:
            return token
    return max(masses)


@pytest.mark.parametrize("kernels", KERNELS)
@pytest.mark.parametrize("temperature", [0.0, 0.7, 1.0])
@looped
async def test_draws_are_the_models_own_renormalised_token_by_token(
    kernels: Any, temperature: float
) -> None:
    words = ["ab", "abc", "abd", "b", "ba\n", "caf\u00e9", "x" * 6]
    spelt = [word.encode() for word in words]
    drawn = set[bytes]()
    async with opened(kernels) as engine:
        root = await engine.open("Say a word: ", path=PATH)
        for branch in root.fork(24):
            params = Sampling(max_tokens=20, temperature=temperature, grammar=of(words))
            start = len(branch.tokens)
            segment = await branch.extend(params)
            assert segment.finish is Finish.EOS
            drawn.add(segment.text.encode())
            whole = await branch.span_logits(start - 1, len(branch.tokens) - 1)
            said = b""
            for place, (token, logits) in enumerate(zip(segment.tokens, whole, strict=True)):
                allowed = [
                    word[len(said)] for word in spelt if word != said and word.startswith(said)
                ]
                allowed += [EOS] if said in spelt else []
                best = max(logits[t] for t in allowed)
                if temperature:
                    masses = {t: math.exp((logits[t] - best) / temperature) for t in allowed}
                    assert token == inverse(masses, branch.path.uniform(start + place))
                else:
                    assert logits[token] == best
                norm = math.log(math.fsum(math.exp(v - max(logits)) for v in logits)) + max(logits)
                assert segment.logprobs[place] == pytest.approx(logits[token] - norm, abs=1e-4)
                said += bytes([token]) if token != EOS else b""
            assert said in spelt
    assert len(drawn) > 1 or temperature == 0


@st.composite
def fields(draw: st.DrawFn, depth: int = 1) -> Any:
    """A type that pydantic knows, with little room."""
    kinds = ["int", "bool", "text", "choice", "list"] + (["model"] if depth else [])
    match draw(st.sampled_from(kinds)):
        case "int":
            low = draw(st.integers(-50, 50))
            return Annotated[int, Field(ge=low, le=low + draw(st.integers(0, 200)))]
        case "bool":
            return bool
        case "text":
            return Annotated[str, Field(min_length=draw(st.integers(0, 2)), max_length=3)]
        case "choice":
            return Literal[tuple(draw(st.lists(texts, min_size=1, max_size=3, unique=True)))]
        case "list":
            return Annotated[list[draw(fields(0))], Field(max_length=2)]  # type: ignore[misc]
    return draw(models(0))


@st.composite
def models(draw: st.DrawFn, depth: int = 1) -> type[BaseModel]:
    names = draw(st.lists(st.sampled_from("pqrst"), min_size=1, max_size=3, unique=True))
    wanted: dict[str, Any] = {name: (draw(fields(depth)), ...) for name in names}
    made: type[BaseModel] = create_model("Drawn", **wanted)
    return made


@settings(max_examples=25, deadline=None)
@given(models(), st.integers(0, 1000))
def test_every_draw_under_a_schema_parses_and_validates(model: type[BaseModel], seed: int) -> None:
    async def check() -> None:
        grammar = Grammar(kind="json_schema", text=json.dumps(model.model_json_schema()))
        async with opened(KERNELS[-1]) as engine:
            root = await engine.open("JSON: ", path=BranchPath(seed))
            params = Sampling(max_tokens=460, grammar=closed(grammar))
            for segment in await asyncio.gather(*(b.extend(params) for b in root.fork(4))):
                assert segment.finish is Finish.EOS
                model.model_validate_json(segment.text)

    asyncio.run(check())


def closed(grammar: Grammar) -> Grammar:
    """The same, without fields that the schema does not name."""

    def close(schema: dict[str, Any]) -> dict[str, Any]:
        return {**schema, "additionalProperties": False}

    schema = close(json.loads(grammar.text))
    if "$defs" in schema:
        schema["$defs"] = {name: close(each) for name, each in schema["$defs"].items()}
    return replace(grammar, text=json.dumps(schema))


@pytest.mark.parametrize("kernels", KERNELS)
@looped
async def test_rows_in_one_batch_are_what_they_are_alone(kernels: Any) -> None:
    free, held = Sampling(max_tokens=10), Sampling(max_tokens=10, grammar=DIGITS)
    biased = replace(held, bias=((ord("1"), 2.0), (ord("2"), -math.inf)))
    async with opened(kernels) as engine:
        root = await engine.open("Numbers: ", path=PATH)
        settings = [free, held, replace(free, confidence=5), free, biased, held]
        settings += [replace(params, confidence=5) for params in (biased, held, free)]
        children = root.fork(len(settings))
        mixed = await asyncio.gather(
            *(child.extend(params) for child, params in zip(children, settings, strict=True))
        )
        again = await engine.open("Numbers: ", path=PATH)
        alone = [
            await child.extend(params)
            for child, params in zip(again.fork(len(settings)), settings, strict=True)
        ]
    assert [s.tokens for s in mixed] == [s.tokens for s in alone]
    if kernels == "native":
        assert [s.logprobs for s in mixed] == [s.logprobs for s in alone]
        assert [s.confidences for s in mixed] == [s.confidences for s in alone]
    assert [len(s.confidences) for s in mixed] == [
        len(s.tokens) if params.confidence else 0 for s, params in zip(mixed, settings, strict=True)
    ]
    assert "2" not in mixed[4].text
    assert all(re.fullmatch(r"[0-9][0-9,]*", mixed[i].text) for i in (1, 4, 5))


@looped
async def test_a_text_is_extended_forked_taken_back_and_edited_in_its_middle() -> None:
    async with opened() as engine:
        whole = await engine.open("Numbers: ", path=PATH)
        start = len(whole.tokens)
        held = Sampling(max_tokens=9, grammar=DIGITS)
        await whole.extend(held)
        branch = await engine.open("Numbers: ", path=PATH)
        piece = replace(held, max_tokens=3, grammar_start=start)
        for _ in range(3):
            await branch.extend(piece)
        assert branch.tokens == whole.tokens
        branch.rewind(start + 2)
        await branch.extend(replace(piece, max_tokens=7))
        assert branch.tokens == whole.tokens
        for child in branch.fork(3):
            child.rewind(start + 5)
            await child.extend(piece)
            assert re.fullmatch(r"[0-9][0-9,]*", child.text)
        await branch.splice(start, start + 1, "77")
        await branch.extend(piece)
        assert re.fullmatch(r"77[0-9,]+", branch.text)
        await branch.splice(start, start, ",")
        with pytest.raises(InputError, match=r"after '' it does not allow ','"):
            await branch.extend(piece)
        with pytest.raises(InputError, match=r"grammar_start is 999; the branch has \d+ tokens"):
            await branch.extend(replace(piece, grammar_start=999))


@looped
async def test_a_cancelled_decode_is_gone_on_with() -> None:
    async with opened() as engine:
        branch = await engine.open("Numbers: ", path=PATH)
        start = len(branch.tokens)
        held = Sampling(max_tokens=300, grammar=Grammar(kind="regex", text="[0-9]{400}"))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await branch.extend(held)
        await branch.extend(replace(held, max_tokens=5, grammar_start=start))
        assert re.fullmatch("[0-9]{5,}", branch.text)


@looped
async def test_a_model_without_end_tokens_stops_where_the_text_is_complete() -> None:
    async with opened(model=ENDLESS) as engine:
        root = await engine.open("Say: ", path=PATH)
        segment = await root.fork(1)[0].extend(Sampling(max_tokens=9, grammar=of(["abc"])))
        assert (segment.text, segment.finish) == ("abc", Finish.STOP)
        segment = await root.fork(1)[0].extend(Sampling(max_tokens=3, grammar=of(["abcdef"])))
        assert (segment.text, segment.finish) == ("abc", Finish.LENGTH)
        nothing = await root.fork(1)[0].extend(Sampling(max_tokens=3, grammar=of([""])))
        assert (nothing.text, nothing.finish) == ("", Finish.STOP)


@looped
async def test_after_its_end_a_text_has_only_its_end() -> None:
    async with opened() as engine:
        branch = await engine.open("Say: ", path=PATH)
        start = len(branch.tokens)
        held = Sampling(max_tokens=9, grammar=of(["abc"]), grammar_start=start)
        await branch.extend(held)
        segment = await branch.extend(held)
        assert (segment.tokens, segment.finish, branch.text) == ((EOS,), Finish.EOS, "abc")


@pytest.mark.parametrize(
    ("grammar", "words"),
    [
        (
            Grammar(kind="regex", text="ab(c"),
            r"'ab\(c' cannot be read: unclosed group \(at char.* 2\)",
        ),
        (Grammar(kind="regex", text="a{"), "unclosed counted repetition"),
        (Grammar(kind="regex", text=r"[^\s\S]"), "can begin a text that fits the regex grammar"),
        (
            Grammar(kind="lark", text='start: "a" b\nb: thing\n'),
            'line 2, column 4: unknown name: "th',
        ),
        (Grammar(kind="lark", text="start: ("), "line 1, column "),
        (Grammar(kind="json_schema", text='{"type": }'), r"no JSON: .* column 10"),
        (Grammar(kind="json_schema", text="3"), "cannot be used"),
        (Grammar(kind="json_schema", text="false"), "schema is false"),
        (Grammar(kind="json_schema", text='{"type": "strin"}'), "Invalid type: strin"),
        (
            Grammar(kind="json_schema", text='{"not": {}, "propertyNames": {}}'),
            r'keywords that are not supported: \["not", "propertyNames"\]',
        ),
    ],
)
@looped
async def test_what_cannot_be_used_is_said(grammar: Grammar, words: str) -> None:
    async with opened() as engine:
        branch = await engine.open("Say: ", path=PATH)
        before = branch.tokens
        with pytest.raises(InputError, match=words):
            await branch.extend(Sampling(max_tokens=4, grammar=grammar))
        assert branch.tokens == before
        assert (await branch.extend(Sampling(max_tokens=2))).usage.decoded


def test_a_vocabulary_that_cannot_spell_the_grammar() -> None:
    vocabulary = Vocabulary([b"a", b"b", None], frozenset([2]), 3)
    with pytest.raises(InputError, match=r"can begin a text .* cannot spell what does"):
        vocabulary.follow(of(["c"]), []).allowed()
    follower = vocabulary.follow(of(["ac", "bb"]), [0])
    with pytest.raises(InputError, match="can go on after 'a' that fits"):
        follower.allowed()


@looped
async def test_all_that_is_allowed_may_be_forbidden_otherwise() -> None:
    async with opened() as engine:
        branch = await engine.open("Say: ", path=PATH)
        params = Sampling(max_tokens=4, grammar=of(["ab"]), bias=((ord("a"), -math.inf),))
        with pytest.raises(InputError, match="of those that the grammar allows"):
            await branch.extend(params)


def test_settings_that_make_no_sense() -> None:
    with pytest.raises(InputError, match="kind of grammar 'regexp'; did you mean 'regex'"):
        Grammar(kind="regexp", text="a")  # type: ignore[arg-type]
    for start, grammar in ((3, None), (-1, DIGITS)):
        with pytest.raises(InputError, match=f"grammar_start is {start}"):
            Sampling(max_tokens=1, grammar=grammar, grammar_start=start)


def test_without_the_extra_its_name_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ponder.runtime.constraints.compiling.find_spec", lambda _: None)
    with pytest.raises(InputError, match=r"pip install 'ponder\[constraints\]'"):
        Vocabulary(BYTES, frozenset(), 256).follow(of(["a"]), [])


@looped
async def test_lark_counts_brackets() -> None:
    grammar = Grammar(kind="lark", text='start: "(" start? ")"')
    async with opened() as engine:
        root = await engine.open("Brackets: ", path=PATH)
        for branch in root.fork(6):
            text = (await branch.extend(Sampling(max_tokens=200, grammar=grammar))).text
            assert text == "(" * (len(text) // 2) + ")" * (len(text) // 2) != ""


def test_a_recording_knows_a_call_by_its_grammar() -> None:
    plain = Sampling(max_tokens=3)
    assert not {"grammar", "grammar_start"} & sampling_data(plain).keys()
    told = [
        json.dumps(sampling_data(replace(plain, grammar=grammar, grammar_start=start)))
        for grammar, start in ((DIGITS, None), (DIGITS, 3), (of(["a"]), None))
    ]
    assert len({json.dumps(sampling_data(plain)), *told}) == 4
