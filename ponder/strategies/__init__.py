"""Methods: one a file, each a frozen dataclass of settings that maps a stream to a stream."""

from ponder.strategies.api import Answer, Bound, Context, Item, Load, Port, Strategy

__all__ = ["Answer", "Bound", "Context", "Item", "Load", "Port", "Strategy"]
