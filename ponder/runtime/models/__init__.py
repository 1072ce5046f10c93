"""From a model's name to its weights and tokeniser.

Imports nothing heavy until a model is opened.
"""

from ponder.runtime.models.config import LoadedModel, ModelConfig, Tokenizer
from ponder.runtime.models.load import KnownModel, known_models, load_model

__all__ = ["KnownModel", "LoadedModel", "ModelConfig", "Tokenizer", "known_models", "load_model"]
