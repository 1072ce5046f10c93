"""Rewrites the many ways one answer is typed into one plain way, as text: Unicode signs, LaTeX
spacing, fraction commands, wrappers, unit words.

It knows typography only: what a number or a set is, `rationals` and `keys` say. Every pattern here
is linear in its text, which may be hostile.
"""

from __future__ import annotations

import re
from collections.abc import Callable

SIGNS = str.maketrans(
    {
        "\u2212": "-",  # minus
        "\u2013": "-",  # en dash
        "\u00d7": r"\times ",
        "\u00b7": r"\cdot ",
        "\u00f7": "/",
        "\u2044": "/",  # fraction slash
        "\u03c0": r"\pi ",
        "\u221e": r"\infty ",
        "\u222a": r"\cup ",
        "\u2208": r"\in ",
        "\u00b1": r"\pm ",
        "\u2264": r"\le ",
        "\u2265": r"\ge ",
        "\u00b0": r"^\circ ",
        "\u00b2": "^2",
        "\u00b3": "^3",
        "\u00bd": r"\frac{1}{2}",
        "\u00bc": r"\frac{1}{4}",
        "\u00be": r"\frac{3}{4}",
        "\uff05": "%",
        "\uff0c": ",",
        "\u00a0": " ",
        "\u2009": " ",
        "\u202f": " ",
    }
)
WRAPPERS = (("$$", "$$"), ("$", "$"), (r"\(", r"\)"), (r"\[", r"\]"), ("**", "**"))
BARE_PI = re.compile(r"(?<![A-Za-z\\])pi(?![A-Za-z])")

Rule = tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]]

DIGITLESS_TEXT = r"\\(?:text(?:bf|it|rm|sf|normal)?|mbox|hbox|mathrm)\s*\{([^{}0-9]*)\}"
NOT_A_UNIT = re.compile(
    r"\b(?:am|pm|a\.m|p\.m|per ?cent|hundred|thousand|million|billion|trillion|dozen|and|or|mod"
    r"|base|pi|inf|infinity|half|halves|thirds?|quarters?|sqrt|root|sin|cos|tan|log|exp|remainder)\b|%",
    re.IGNORECASE,
)
"""Words after a number that change what it says."""


def drop_unit(match: re.Match[str]) -> str:
    return match[0] if NOT_A_UNIT.search(match[1]) else ""


RULES: tuple[Rule, ...] = tuple(
    (re.compile(pattern), new)
    for pattern, new in (
        (r"\\(?:left|right|[bB]igg?[lr]?|displaystyle|limits)(?![A-Za-z])", ""),
        (r"(?<=\d)(?:\{,\}|,?\\!|\\,|,\\[ ,;])(?=\d{3}(?!\d))", ""),
        (r"\\!", ""),
        (r"(?<!\\)\\(?:[,;: ]|q?quad(?![A-Za-z]))|~", " "),
        (r"(?<=[\d}])\s*" + DIGITLESS_TEXT + r"(?:\^(?:\d|\{\d\}))?[\s.]*$", drop_unit),
        (
            r"\\(?:text(?:bf|it|rm|sf|normal)?|mbox|hbox|mathrm|mathbf|mathit|mathsf|emph)"
            r"\s*\{([^{}]*)\}",
            r" \1 ",
        ),
        (r"\\[dtc]frac(?![A-Za-z])", r"\\frac"),
        (r"\\frac\s*(\d)\s*(\d)", r"\\frac{\1}{\2}"),
        (r"\\frac\s*(\d)\s*(?=\{)", r"\\frac{\1}"),
        (r"(\\frac\s*\{[^{}]*\})\s*(\d)", r"\1{\2}"),
        (r"\\frac\s+", r"\\frac"),
        (r"\^\s*(?:\\circ(?![A-Za-z])|\{\s*\\circ\s*\})|\\degree(?![A-Za-z])", ""),
        (r"\\(?:cdot|times|ast)(?![A-Za-z])", "*"),
        (r"\\(l|g)eq(?:slant)?(?![A-Za-z])", r"\\\1e"),
        (r"\\([%$])", r"\1"),
        (r"([_^])\{\s*(\w)\s*\}", r"\1\2"),
        (r"\s+", " "),
    )
)


def tidy(text: str) -> str:
    """The same notation in ASCII LaTeX without math delimiters, emphasis or a full stop."""
    text = BARE_PI.sub(r"\\pi", text.translate(SIGNS))
    while True:
        bare = text.strip().rstrip(".;").strip()
        for opening, closing in WRAPPERS:
            if (
                len(bare) > len(opening) + len(closing)
                and bare.startswith(opening)
                and bare.endswith(closing)
                and bare[-len(closing) - 1] != "\\"
            ):
                bare = bare[len(opening) : -len(closing)]
                break
        if bare == text:
            return text
        text = bare


def plain(text: str) -> str:
    """`tidy`, and with all that changes only how it looks taken out. Not for display."""
    text = tidy(text)
    for pattern, new in RULES:
        text = pattern.sub(new, text)
    return text.strip()
