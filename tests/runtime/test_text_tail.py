"""Text of a decode under way, fed byte by byte."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_llama import ByteTokenizer

from ponder.runtime.engine.text import TextTail


@given(st.binary(max_size=60))
def test_pieces_never_change_and_join_to_the_whole(data: bytes) -> None:
    tail = TextTail(ByteTokenizer(), ())
    before = ""
    for byte in data:
        tail.push(byte)
        assert tail.certain.startswith(before)
        before = tail.certain
    assert tail.whole == data.decode(errors="replace")


@given(st.text(max_size=20), st.text(min_size=1, max_size=4).filter(lambda s: "\ufffd" not in s))
def test_a_stop_string_is_found_with_its_last_token(text: str, stop: str) -> None:
    tail = TextTail(ByteTokenizer(), ("not in there at all", stop))
    data = (text + stop).encode(errors="ignore")
    found = next((i for i, byte in enumerate(data) if tail.push(byte)), None)
    if stop in data.decode():
        assert found == len(data.decode()[: data.decode().index(stop) + len(stop)].encode()) - 1


@pytest.mark.parametrize("stop", ["é!", "日", "x\n"])
def test_stops_span_characters_of_many_bytes(stop: str) -> None:
    tail = TextTail(ByteTokenizer(), (stop,))
    assert [tail.push(byte) for byte in f"abc{stop}".encode()][-1]
