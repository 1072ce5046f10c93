"""Methods: one a file, each a frozen dataclass of settings that maps a stream to a stream."""

from ponder.strategies.adaptive import AdaptiveBestOf
from ponder.strategies.api import Answer, Bound, Context, Item, Load, Port, Purpose, Strategy
from ponder.strategies.best import Best
from ponder.strategies.confident import Confident
from ponder.strategies.consistency import AdaptiveConsistency
from ponder.strategies.deepconf import DeepConf
from ponder.strategies.judge import Judge
from ponder.strategies.particles.constrained import Constrained
from ponder.strategies.particles.filtering import (
    ParallelTempering,
    ParticleFilter,
    ParticleGibbs,
)
from ponder.strategies.prompting import ask
from ponder.strategies.pruning import Pruned
from ponder.strategies.risk import MinimumBayesRisk
from ponder.strategies.sample import Sample
from ponder.strategies.search.abmcts import AbMcts
from ponder.strategies.search.abmcts_mixed import AbMctsM
from ponder.strategies.search.astar import AStar
from ponder.strategies.search.beam import Beam
from ponder.strategies.search.dvts import Dvts
from ponder.strategies.search.mcts import Mcts
from ponder.strategies.search.rebase import Rebase
from ponder.strategies.stored import Stored
from ponder.strategies.universal import Universal
from ponder.strategies.vote import Vote
from ponder.strategies.windows import EarlyStopping

__all__ = [
    "AStar",
    "AbMcts",
    "AbMctsM",
    "AdaptiveBestOf",
    "AdaptiveConsistency",
    "Answer",
    "Beam",
    "Best",
    "Bound",
    "Confident",
    "Constrained",
    "Context",
    "DeepConf",
    "Dvts",
    "EarlyStopping",
    "Item",
    "Judge",
    "Load",
    "Mcts",
    "MinimumBayesRisk",
    "ParallelTempering",
    "ParticleFilter",
    "ParticleGibbs",
    "Port",
    "Pruned",
    "Purpose",
    "Rebase",
    "Sample",
    "Stored",
    "Strategy",
    "Universal",
    "Vote",
    "ask",
]
