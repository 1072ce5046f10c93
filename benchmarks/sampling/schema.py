"""The schema that the benchmark's texts keep to, and prompts that ask for it."""

from __future__ import annotations

import json

from benchmarks.workloads import Prompt
from ponder.runtime import LoadedModel

ITEMS = 40
"""Orders at least: more than any text here has room for, so that all have the same length."""
_ADDRESS = {
    "type": "object",
    "properties": {
        "street": {"type": "string", "maxLength": 40},
        "city": {"type": "string", "maxLength": 30},
        "country": {"enum": ["DE", "FR", "IT", "NL", "US"]},
    },
    "required": ["street", "city", "country"],
    "additionalProperties": False,
}
_LINE = {
    "type": "object",
    "properties": {
        "product": {"type": "string", "maxLength": 40},
        "quantity": {"type": "integer", "minimum": 1, "maximum": 999},
        "price": {"type": "number"},
        "gift": {"type": "boolean"},
    },
    "required": ["product", "quantity", "price", "gift"],
    "additionalProperties": False,
}
_ORDER = {
    "type": "object",
    "properties": {
        "id": {"type": "integer"},
        "status": {"enum": ["open", "paid", "shipped", "returned"]},
        "customer": {"type": "string", "maxLength": 40},
        "address": _ADDRESS,
        "lines": {"type": "array", "items": _LINE, "minItems": 1, "maxItems": 5},
        "note": {"anyOf": [{"type": "string", "maxLength": 80}, {"type": "null"}]},
    },
    "required": ["id", "status", "customer", "address", "lines", "note"],
    "additionalProperties": False,
}
SCHEMA = json.dumps(
    {
        "type": "object",
        "properties": {"orders": {"type": "array", "items": _ORDER, "minItems": ITEMS}},
        "required": ["orders"],
        "additionalProperties": False,
    }
)


def prompt(model: LoadedModel, turn: int) -> Prompt:
    """One that no cache knows from an earlier turn."""
    text = (
        f"Day {turn} of the shop. Write its orders as JSON: for each the id, the status, the "
        "customer, the address, the lines with product, quantity, price and whether it is a gift, "
        "and a note or null.\n"
    )
    return Prompt(tokens=tuple(model.tokenizer.encode(text)), text=text, seed=turn)
