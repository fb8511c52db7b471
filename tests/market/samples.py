"""The canonical payload of every stream, one file each: `payloads/<market>-<kind and option>.json`."""

from pathlib import Path

from market.streams import Market, StreamName

FOLDER = Path(__file__).parent / "payloads"


def samples() -> dict[StreamName, bytes]:
    """Every canonical payload by the BTCUSDT stream that sends it."""
    return {_stream(file): file.read_bytes() for file in sorted(FOLDER.glob("*.json"))}


def sample(text: str) -> bytes:
    """The canonical payload of one stream, `spot:btcusdt@ticker`."""
    return samples()[StreamName.parse(text)]


def _stream(file: Path) -> StreamName:
    market, _, kind = file.stem.partition("-")
    return StreamName.parse(f"btcusdt@{kind}", Market(market))
