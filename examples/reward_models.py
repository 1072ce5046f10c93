"""Rewards from an endpoint of one's own: whole attempts judged by an outcome reward, and a beam
steered by a process reward. The "reward model" here checks sums; any can stand behind the contract.
"""

import json
import re
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

from ponder import ScriptedEngine, beam, best, judge, open_engine, sample, solve


def reward(steps: list[str]) -> list[float]:
    """In [0, 1], up to and with each step: whether the sums so far are right."""
    scores: list[float] = []
    for step in steps:
        sums = re.findall(r"(-?\d+) ([+-]) (\d+) = (-?\d+)", step)
        right = all(int(a) + int(op + b) == int(c) for a, op, b, c in sums)
        scores.append(min([0.9 if right else 0.1, *scores]))
    return scores


class Rewards(BaseHTTPRequestHandler):
    """`POST /v1/rewards`, as docs/rewards.md has it."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        known = self.path == "/v1/rewards"
        told = {"scores": [reward(one["steps"]) for one in asked["inputs"]]} if known else {}
        body = json.dumps(told).encode()
        self.send_response(200 if known else 404)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        """There is no list of models."""
        self.send_error(404)

    def log_message(self, *_: object) -> None:
        """Nothing."""


def main() -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Rewards)
    Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}/v1"
    engines = {"policy": ScriptedEngine(), "rm": open_engine("reward:sums", base_url=url)}
    question = "Ann has 17 apples and buys 25 more. How many apples does she have?"
    for name, strategy in (
        ("outcome", sample(8) | judge("outcome_reward", engine="rm") | best()),
        ("process", beam("process_reward", verifier_engine="rm", width=4) | best()),
    ):
        result = solve(question, strategy, engine=engines, seed=1)
        print(name, result.answer, result.confidence, result.status.value)


if __name__ == "__main__":
    main()
