"""The side of a peer: set up once, then run one unit of work for every line on standard input."""

import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

Unit = Callable[[], dict[str, Any]]


def serve(set_up: Callable[[], tuple[Unit, dict[str, Any]]]) -> None:
    """Answer "ready" with what `set_up` measured, then each line with one unit's time.

    Answers go to the original standard output as one JSON object a line; whatever a library prints
    goes to standard error.
    """
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def answer(result: dict[str, Any]) -> None:
        print(json.dumps(result), file=answers, flush=True)

    started = time.perf_counter()
    unit, facts = set_up()
    answer({"set_up_seconds": time.perf_counter() - started} | facts)
    for _ in sys.stdin:
        cpu, began = time.process_time(), time.perf_counter()
        result = unit()
        seconds = time.perf_counter() - began
        answer({"seconds": seconds, "cpu_seconds": time.process_time() - cpu} | result)
