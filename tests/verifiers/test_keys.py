"""Canonical keys: equal for one answer typed in many ways, different for different answers."""

from __future__ import annotations

import json
import os
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ponder.verifiers import canonical

DATA = Path(os.environ.get("PONDER_DATA", Path(__file__).parents[3] / "shared" / "data"))

CLASSES = {
    "18": "18|+18|18.|18.0|18.00|018|$18|\\$18|18 dollars|18\\text{ cm}|18 cm|18cm|18 cm^2|"
    "18\\text{ cm}^2|18\\mbox{ cm}^{2}|18 apples|18 square inches|18 miles per hour|**18**|"
    "$18$|\\(18\\)|\\[18\\]|18^\\circ|18^{\\circ}|18\u00b0|18 degrees|x = 18|(18)|"
    "18\\text{ ways.}|USD 18|\\text{18}|"
    "\\mathbf{18}|18\\textnormal{ miles}|1.8e1|1.8 \\times 10^{1}|180/10| 18 ",
    "-5": "-5|\u22125|-5.0|-$5|$-5|-\\$5|- 5|-10/2",
    "10080": "10080|10,080|10{,}080|10,\\!080|10\\,080|10{,}080.0|10,080 dollars",
    "1/2": "1/2|0.5|.5|0.50|\\frac{1}{2}|\\dfrac12|\\tfrac{1}2|\\frac 12|\\cfrac{1}{2}|50/100|"
    "\u00bd|\\frac{-1}{-2}|x=\\frac12",
    "-3/8": "-3/8|-\\frac{3}{8}|\\frac{-3}{8}|\\frac{3}{-8}|-0.375",
    "275/2": "137 \\frac{1}{2}|137\\frac12|137 1/2|137.5|\\frac{275}{2}|137\u00bd",
    "50%": "50%|50\\%|50 %|50 percent|50.0\\%|50\\text{ percent}",
    "3000000": "3 million|3 million dollars|3{,}000{,}000|3e6|3 \\times 10^6",
    "21/312500": "6.72 \\times 10^{-5}|6.72e-5|.0000672|0.0000672|6.72*10^-5",
    "{3,5,7}": "3, 5, 7|\\{7,5,3\\}|3, 5, \\text{ and } 7|3, 5 and 7|{3,5,7}",
    "{-12,-2}": "-2 \\text{ or } -12|-12, -2|-2 and -12",
    "(2,\\infty)": "(2,\\infty)|\\left(2, \\infty\\right)|(2, infinity)|(2,\u221e)|(2,+\\infty)|"
    "x \\in (2,\\infty)",
    "(0,9)\\cup(9,36)": "(0,9) \\cup (9,36)|(9,36)\\cup(0,9)|(0, 9.0) \u222a (9, 36)",
    "(1/2,-13)": "\\left( \\frac{1}{2}, -13 \\right)|(0.5, -13)|(1/2,-13.0)",
    "[[1/5],[-18/5]]": "\\begin{pmatrix} 1/5 \\\\ -18/5 \\end{pmatrix}|"
    "\\begin{pmatrix} 0.2 \\\\ \\frac{-18}{5} \\end{pmatrix}|"
    "\\begin{bmatrix} 0.2 \\\\ -3.6 \\\\ \\end{bmatrix}",
    "evelyn": "\\text{Evelyn}|Evelyn|evelyn.|\\textbf{Evelyn}| EVELYN",
    "b": "B|(B)|\\text{(B)}|\\text{B}|b|(\\text{B})",
    "52_8": "52_8|52_{8}|$52_8$",
    "two lines": "two lines|\\text{Two  lines}",
    "x^2+1": "x^2+1|x^{2} + 1| x^2 +1",
}


@pytest.mark.parametrize(("key", "ways"), CLASSES.items())
def test_one_key_for_many_ways(key: str, ways: str) -> None:
    assert {way: canonical(way) for way in ways.split("|")} == dict.fromkeys(ways.split("|"), key)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("5", "-5"),
        ("50%", "50"),
        ("50 cents", "0.50"),
        ("(1,2)", "(2,1)"),
        ("(1,2)", "[1,2]"),
        ("(1,2]", "(1,2)"),
        ("1, 2", "(1, 2)"),
        ("3 4", "34"),
        ("52_8", "52"),
        ("x^{12}", "x^12"),
        ("\\frac{1}{0}", "0"),
        ("10 am", "10 pm"),
        ("listen", "silent"),
        ("1,2", "12"),
        ("3:2", "32"),
        ("2 \\pi", "2"),
        ("2 sqrt", "2"),
        ("1e9999", "1e9998"),
        ("", "0"),
    ],
)
def test_different_keys(a: str, b: str) -> None:
    assert canonical(a) != canonical(b)


@given(st.fractions(max_denominator=10**6))
def test_fractions_agree_however_typed(value: Fraction) -> None:
    n, d = value.numerator, value.denominator
    ways = [f"{n}/{d}", f"\\frac{{{n}}}{{{d}}}", f"\\dfrac{{{n}}}{{{d}}}", f"${3 * n}/{3 * d}$"]
    whole, part = divmod(abs(n), d)
    sign = "-" if n < 0 else ""
    ways.append(f"{sign}{whole}\\frac{{{part}}}{{{d}}}")
    ways.append(f"{sign}{whole} {part}/{d}")
    assert {canonical(way) for way in ways} == {str(value)}


@given(st.integers(-(10**15), 10**15), st.integers(0, 6))
def test_decimals_agree_however_typed(digits: int, places: int) -> None:
    value = Fraction(digits, 10**places)
    whole, part = divmod(abs(digits), 10**places)
    text = f"{'-' if digits < 0 else ''}{whole:,}.{part:0{places or 1}d}"
    ways = [
        text,
        text.replace(",", ""),
        text.replace(",", "{,}"),
        text + "0",
        f"{digits}e-{places}",
    ]
    ways += [f"{digits} \\times 10^{{-{places}}}", f"\\frac{{{digits}}}{{{10**places}}}"]
    ways += [text + suffix for suffix in (" dollars", "\\text{ cm}", "^\\circ")]
    assert {canonical(way) for way in ways} == {str(value)}


MATHS = st.text(alphabet="0123456789.,-+/*^_=()[]{}\\ $%abxBpi andorfractextinfty&", max_size=60)


@given(st.one_of(MATHS, st.text(max_size=60)))
def test_the_key_of_a_key_is_itself(text: str) -> None:
    assert canonical(canonical(text)) == canonical(text)


@pytest.mark.parametrize(
    "hostile",
    [
        "9**9**9",
        "10**10**10",
        "10^{999999999999}",
        "1e999999999",
        "9" * 1_000_000,
        "{" * 100_000,
        "(" * 900 + "1" + ")" * 900,
        "\\frac{" * 300 + "1",
        "1," * 900,
        "$" * 1999,
        "__import__('os').system('true')",
        "((1).__class__)",
        "\\frac{1}{0}",
        "1/0",
        "0 0/0",
        "\x00\ud800",
        "\u00b2\u0664",
    ],
    ids=lambda text: f"{text[:9]!a}",
)
def test_hostile_answers_have_a_stable_key(hostile: str) -> None:
    assert canonical(canonical(hostile)) == canonical(hostile)


def test_deep_powers_stay_text() -> None:
    assert canonical("9**9**9") == "9**9**9"
    assert canonical("1e999999999") == "1e999999999"


@pytest.mark.skipif(not (DATA / "math_train.jsonl").exists(), reason="needs the shared data")
def test_keys_of_real_labels_are_stable() -> None:
    for name in ("math_train", "math500", "gsm8k_test", "mawps_addsub", "aime24"):
        lines = (DATA / f"{name}.jsonl").read_text("utf-8").split("\n")
        for key in {canonical(json.loads(line)["answer"]) for line in lines if line}:
            assert canonical(key) == key
