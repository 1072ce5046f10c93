r"""Finds the final answer in what a model wrote: the last `\boxed{}`, else the last `#### x`, else
the last "the answer is x", else the last number.

It reads the form only and judges nothing. The text may be megabytes of anything: every step is one
pass, and every repetition in a pattern is bounded or unambiguous.
"""

from __future__ import annotations

import re

BOX = re.compile(r"\\(?:boxed|fbox)(?![A-Za-z])\s{0,9}(\{?)|\\.|[{}]", re.DOTALL)
UNBRACED = re.compile(r"[^\s{}$,;]{1,200}")

UNSIGNED = (
    r"(?:\\?\$\s?|\u00a3|\u20ac)?"
    r"(?:[0-9]{1,3}(?:(?:,|\{,\}|,\\!|\\,)[0-9]{3})+(?![0-9])|[0-9]+|(?=\.[0-9]))(?:\.[0-9]+)?"
    r"(?:\s?/\s?[0-9]+(?![0-9/])(?!\.[0-9])|\s?\\?%)?"
)
AMOUNT = rf"[-+\u2212]?{UNSIGNED}"
HASHES = re.compile(
    rf"####[ \t]{{0,9}}((?:\\?\$)?{AMOUNT})"
    r"(?:[ \t][A-Za-z]{1,30}){0,4}[ \t.]{0,9}(?:[\n\r]|$)"
)
PHRASE = re.compile(
    r"<answer>\s{0,9}"
    r"|\banswer\b[*_]{0,3}\s{0,9}(?::|=|is\b)[*_]{0,3}\s{0,9}:?[*_]{0,3}\s{0,9}",
    re.IGNORECASE,
)
LINE = re.compile(r"[^\n\r]{1,500}")
CLAUSE_END = re.compile(
    r"[.!?](?=\s|\*|$)|\s(?:because|since|so|which|hence|therefore|where)\s|</|\*\*"
)
INLINE = re.compile(
    r"\$\$?(?!\s)([^$\n]{1,300}?)(?<![\s\\])\$|\\\(([^\n]{1,300}?)\\\)|\\\[([^\n]{1,300}?)\\\]"
)
LEADING = re.compile(
    rf"({AMOUNT})(?![\w^\\]|:[0-9])(?!\s?[-+*/^=<>_\\&|(])(?!,?\s?(?:(?:and|or)\s\\?.?[0-9]|[-0-9(]))"
)
PROSE = re.compile(r"[A-Za-z]{2}")

FIGURE = re.compile(
    r"(?P<label>\b(?:[Ss]tep|STEP|[Pp]art|[Cc]ase|[Ee]quation|[Ss]ection|[Ll]ine)\s#?[0-9]{1,4}\b"
    r"|(?m:^)[ \t]{0,20}(?:\#{1,6}[ \t])?[0-9]{1,3}[.)](?=[ \t]))"
    r"|(?P<date>\b[0-9]{1,4}/[0-9]{1,2}/[0-9]{1,4}\b|\b[0-9]{4}-[0-9]{2}-[0-9]{2}\b"
    r"|\b(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)[a-z]{0,6}\.?\s[0-9]{1,2}\b"
    r"(?:,?\s[0-9]{4}\b)?)"
    r"|(?P<number>-?\\[dt]?frac\s?\{-?[0-9]{1,50}\}\s?\{[0-9]{1,50}\}"
    r"|(?<![\w.])[0-9]{1,2}:[0-9]{2}(?![0-9:])"
    rf"|(?<![\w)\]}}])[-+\u2212]{UNSIGNED}|(?<![A-Za-z0-9_]){UNSIGNED})"
)


def extract(text: str) -> str | None:
    """The final answer as the model typed it, or None where nothing looks like one."""
    for find in (boxed, hashed, stated, figured):
        answer = find(text)
        if answer is not None:
            return answer
    return None


def boxed(text: str) -> str | None:
    """The last box that is closed and holds something; a box in a box counts as later."""
    start, end = -1, -1
    opened = list[int]()
    for mark in BOX.finditer(text):
        token = mark[0]
        if token.startswith("\\") and mark[1] == "":
            bare = UNBRACED.match(text, mark.end())
            if bare:
                start, end = bare.span()
        elif token.endswith("{") and not token.startswith("\\{"):
            opened.append(mark.end() if mark[1] else -1)
        elif token == "}" and opened:
            begin = opened.pop()
            if begin > start and text[begin : mark.start()].strip():
                start, end = begin, mark.start()
    return text[start:end].strip().rstrip(".") if end > 0 else None


def hashed(text: str) -> str | None:
    """GSM8K's last line. A markdown heading of the same level is none: it is not just a number."""
    found = None
    for match in HASHES.finditer(text):
        found = match[1]
    return found


def stated(text: str) -> str | None:
    found = None
    for phrase in PHRASE.finditer(text):
        line = LINE.match(text, phrase.end())
        if line and line[0].strip(" \t*_.:$"):
            found = line[0]
    return None if found is None else reduced(found.lstrip(" \t*_:"))


def reduced(line: str) -> str | None:
    """What a line that begins with an answer says, without the words around it."""
    formula = INLINE.match(line)
    if formula:
        return first(formula).strip()
    amount = LEADING.match(line)
    if amount:
        return amount[1]
    clause = CLAUSE_END.split(line, maxsplit=1)[0].strip(" \t*_,;:.")
    if PROSE.match(clause):
        formulas = list(INLINE.finditer(clause))
        return first(formulas[-1]).strip() if formulas else figured(clause) or clause
    return clause or figured(line)


def first(formula: re.Match[str]) -> str:
    return next(group for group in formula.groups() if group)


def figured(text: str) -> str | None:
    """The last number; a date only for want of one, the number of a step for want of that too."""
    last = dict[str, str]()
    for match in FIGURE.finditer(text):
        last[match.lastgroup or ""] = match[0]
    found = last.get("number") or last.get("date") or last.get("label")
    if found is not None and "number" not in last and "date" not in last:
        return found.strip("#.) \tABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")
    return found
