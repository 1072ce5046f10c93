"""Methods: one a file, each a frozen dataclass of settings that maps a stream to a stream."""

from ponder.strategies.api import Answer, Bound, Context, Item, Load, Port, Strategy
from ponder.strategies.best import Best
from ponder.strategies.judge import Judge
from ponder.strategies.prompting import ask
from ponder.strategies.sample import Sample
from ponder.strategies.vote import Vote

__all__ = [
    "Answer",
    "Best",
    "Bound",
    "Context",
    "Item",
    "Judge",
    "Load",
    "Port",
    "Sample",
    "Strategy",
    "Vote",
    "ask",
]
