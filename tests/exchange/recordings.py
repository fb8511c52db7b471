"""Recordings made for tests, and parts of real ones."""

import gzip
import json
from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import Any

DAY = 1_723_161_600_000


def write(path: Path, lines: Iterable[tuple[int | None, str, str, Any]]) -> Path:
    """A recording of (ts, market, conn, raw); raw is encoded unless it is text already."""
    with gzip.open(path, "wt", encoding="utf-8") as file:
        for ts, market, conn, raw in lines:
            text = raw if isinstance(raw, str) else json.dumps(raw, separators=(",", ":"), ensure_ascii=False)
            file.write(f'{{"ts":{json.dumps(ts)},"market":"{market}","conn":"{conn}","raw":{text}}}\n')
    return path


def head(source: Path, target: Path, lines: int) -> Path:
    """The first lines of a real recording."""
    with gzip.open(source, "rb") as whole, gzip.open(target, "wb", compresslevel=1) as part:
        part.writelines(islice(whole, lines))
    return target


def frames(path: Path) -> list[str]:
    """The combined frames of a recording as they were received: the text between `"raw":` and the line's end."""
    found = []
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            raw = line.rstrip("\n").partition('"raw":')[2][:-1]
            if raw.startswith('{"stream"'):
                found.append(raw)
    return found


def trade(number: int, at_ms: int, price: str, quantity: str, *, symbol: str = "BTCUSDT", maker: bool = False) -> Any:
    """A combined spot trade."""
    flag = "true" if maker else "false"
    return (
        f'{{"stream":"{symbol.lower()}@trade","data":{{"e":"trade","E":{at_ms + 1},"s":"{symbol}","t":{number}'
        f',"p":"{price}","q":"{quantity}","T":{at_ms},"m":{flag},"M":true}}}}'
    )


def depth(first: int, last: int, at_ms: int, bids: list[list[str]], asks: list[list[str]]) -> Any:
    """A combined spot depth update at 100 ms."""
    data = {"e": "depthUpdate", "E": at_ms, "s": "BTCUSDT", "U": first, "u": last, "b": bids, "a": asks}
    return {"stream": "btcusdt@depth@100ms", "data": data}
