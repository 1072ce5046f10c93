"""The JSON schema of strategies in YAML, for editors."""

from __future__ import annotations

from typing import Any

from ponder.orchestrator.conditions import METRICS
from ponder.orchestrator.dsl import best_of
from ponder.orchestrator.operations import METHODS
from ponder.orchestrator.settings import schema_of

_STRATEGY = {"$ref": "#/$defs/strategy"}
_NAME = {"type": "string", "pattern": "^[A-Za-z_][A-Za-z0-9_-]{0,63}$"}


def json_schema() -> dict[str, Any]:
    """Draft 2020-12; a strategy is a mapping of one operation."""
    parts = {"type": "array", "items": _STRATEGY, "minItems": 1}
    operations = {
        **{name: _nameable(schema_of(method)) for name, method in METHODS.items()},
        "best_of": schema_of(best_of),
        "pipe": parts,
        "parallel": {"anyOf": [parts, _nameable(_record({"parts": parts}))]},
        "when": _nameable(
            _record({"condition": _condition(), "then": _STRATEGY, "otherwise": _STRATEGY})
        ),
        "route": _nameable(_record({"by": _metric(), "bins": _borders(), "arms": parts})),
    }
    strategy = {
        "type": "object",
        "properties": operations,
        "minProperties": 1,
        "maxProperties": 1,
        "additionalProperties": False,
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Ponder strategy",
        "$ref": "#/$defs/strategy",
        "$defs": {"strategy": strategy},
    }


def _record(fields: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": fields,
        "required": list(fields),
        "additionalProperties": False,
    }


def _nameable(record: dict[str, Any]) -> dict[str, Any]:
    return {**record, "properties": {**record["properties"], "name": _NAME}}


def _metric() -> dict[str, Any]:
    return {"type": "string", "pattern": rf"^\s*({'|'.join(METRICS)})\s*(\(\))?\s*$"}


def _borders() -> dict[str, Any]:
    border = {"type": "number", "minimum": 0, "maximum": 1}
    return {"type": "array", "items": border, "minItems": 1}


def _condition() -> dict[str, Any]:
    metrics = "|".join(METRICS)
    return {"type": "string", "pattern": rf"^\s*({metrics})\s*(\(\s*\))?\s*(<=|>=|<|>)\s*\S+\s*$"}
