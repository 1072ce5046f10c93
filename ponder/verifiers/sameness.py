"""When two attempts are one for a judge: they say the same, but for white space that says nothing.

A judgement's place in the run is its text's, not its candidate's: so equal texts are judged with
equal draws, whichever of them came first.
"""

from __future__ import annotations

import re
from hashlib import blake2b

_BLANKS = re.compile(r"\n{3,}")


def plain(text: str) -> str:
    """Without spaces at the ends of lines, blank lines at the ends, or several in a row; what
    indents a line stays.
    """
    lines = "\n".join(line.rstrip() for line in text.split("\n"))
    return _BLANKS.sub("\n\n", lines).strip("\n")


def mark(text: str) -> str:
    """Equal for texts that are equal when plain; 16 hexadecimal digits."""
    return blake2b(plain(text).encode(errors="surrogatepass"), digest_size=8).hexdigest()
