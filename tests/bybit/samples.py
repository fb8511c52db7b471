"""Bybit's documented messages; payloads/SOURCES.md says where each is from."""

from pathlib import Path

from bybit.payloads import Frame, parse_frame

FOLDER = Path(__file__).parent / "payloads"


def body(name: str) -> bytes:
    """One documented message."""
    return (FOLDER / f"{name}.json").read_bytes().rstrip()


def frame(name: str) -> Frame:
    """One documented message of the WebSocket, parsed."""
    return parse_frame(body(name))
