"""RFC 6455 and RFC 7692 on the wire: Autobahn's published cases, run by kosoku against the doors' WebSocket."""

import asyncio
import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from tests.conformance.echo import echoing

CASES = [
    *(f"{group}.*" for group in (1, 2, 3, 4, 5, 6, 7, 9, 10)),
    "12.1.1", "12.2.3", "12.5.4",  # compressed messages: short, medium, long; text and binary
    *(f"13.{offer}.1" for offer in range(1, 8)),  # every combination of compression parameters
]  # fmt: skip
LEFT_OUT = ["9.7.*", "9.8.*"]
"""Throughput: the same messages as elsewhere, a thousand times."""
COUNT = 299
LATE = {"6.4.3", "6.4.4"}
"""Non-strict: a frame's text is judged when the frame is whole, not byte by byte."""
UNSPECIFIED = {"7.1.6", "7.13.1", "7.13.2"}
"""Informational: the cases only look at what a server does."""
PARALLEL = "12"


async def test_the_websocket_of_the_doors_passes_every_published_case(tmp_path: Path) -> None:
    async with echoing() as url:
        options = [part for case in CASES for part in ("-i", case)] + [
            part for case in LEFT_OUT for part in ("-x", case)
        ]
        kosoku = await asyncio.create_subprocess_exec(
            str(Path(sys.executable).with_name("kosoku")), url, "-p", PARALLEL, "-o", str(tmp_path), *options,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        output, _ = await kosoku.communicate()
    assert kosoku.returncode == 0, output.decode()
    verdicts = _verdicts(tmp_path)
    assert len(verdicts) == COUNT
    assert {case for case, verdict in verdicts.items() if verdict != ("OK", "OK")} == LATE | UNSPECIFIED, Counter(
        verdicts.values()
    )
    assert {verdicts[case] for case in LATE} == {("NON-STRICT", "OK")}
    assert {verdicts[case] for case in UNSPECIFIED} == {("INFORMATIONAL", "INFORMATIONAL")}


def _verdicts(reports: Path) -> dict[str, tuple[str, str]]:
    """What kosoku says of each case: of the messages, and of the closing."""
    found: dict[str, dict[str, Any]] = json.loads((reports / "index.json").read_text())
    (cases,) = found.values()
    return {name: (case["behavior"], case["behaviorClose"]) for name, case in cases.items()}
