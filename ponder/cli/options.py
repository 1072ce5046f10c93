"""Options that several commands take."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Strategy = Annotated[
    str, typer.Option("--strategy", "-s", help="Name of a preset, or a YAML file.")
]
Model = Annotated[
    str,
    typer.Option(
        "--model",
        "-m",
        help="embedded (SmolLM2-135M-Instruct), scripted (a toy, no model), a path, ORG/NAME, "
        "vllm:PATH or vllm:ORG/NAME in vLLM, or openai:MODEL at an endpoint.",
    ),
]
Engines = Annotated[
    list[str] | None,
    typer.Option(
        "--engine",
        "-e",
        help="An engine for another role that the strategy names: ROLE=MODEL, or "
        "ROLE=openai:NAME@URL at an endpoint of its own. Again for more.",
    ),
]
Weights = Annotated[
    str,
    typer.Option("--weights", help="float32, bfloat16 (faster), int8 or int4 (faster yet)."),
]
BaseUrl = Annotated[
    str | None,
    typer.Option(
        help="Of the endpoint, up to /v1, where --engine gives none. Its key is read from "
        "PONDER_API_KEY."
    ),
]
Probe = Annotated[bool, typer.Option("--probe", help="Find out anew what the endpoint can do.")]
Fallback = Annotated[
    bool,
    typer.Option(
        "--allow-fallback",
        help="Tell a model that cannot go on from a begun reply how it begins, in a user turn.",
    ),
]
Potentials = Annotated[
    list[str] | None,
    typer.Option(
        "--potential",
        help="What a name in the strategy's fits means: NAME=FILE.py:OBJECT, a Predicate or a "
        "function of the whole text. Runs that file. Again for more.",
    ),
]
AnswerSchema = Annotated[
    Path | None, typer.Option(help="The answer is JSON that fits the JSON Schema in this file.")
]
BudgetTokens = Annotated[
    int | None, typer.Option(help="Tokens a question may cost: given, drawn and scored.")
]
BudgetSeconds = Annotated[float | None, typer.Option(help="Seconds a question may take.")]
Record = Annotated[
    Path | None, typer.Option(help="Keep every call of the model in this file, or add to it.")
]
Replay = Annotated[
    Path | None,
    typer.Option(
        help="Serve calls from this file; no model is opened, and what is not there is refused."
    ),
]
SaveSearch = Annotated[
    Path | None, typer.Option(help="Keep here what searches have come to, however it ends.")
]
Resume = Annotated[
    Path | None, typer.Option(help="Go on from such a file: its question, strategy and seed.")
]
Asked = Annotated[
    str | None,
    typer.Argument(help="What to answer; - reads standard input. With --resume, none."),
]
AnyStrategy = Annotated[
    str | None,
    typer.Option(
        "--strategy", "-s", help="As a preset or YAML file; self_consistency, or the resumed one."
    ),
]
Concurrency = Annotated[int, typer.Option(help="Engine calls under way at once.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
