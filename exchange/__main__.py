"""`python -m exchange record`."""

import asyncio
import signal
import sys
from pathlib import Path
from typing import Annotated

import typer

from binance.recording_writer import RecordingWriter
from exchange.record import Recorder
from market.streams import Market

_MEGABYTE = 1_000_000

cli = typer.Typer(no_args_is_help=True)


@cli.callback()
def main() -> None:
    """Tools around the stand-in; `python -m app exchange` serves it."""


@cli.command()
def record(
    *,
    ws_base: Annotated[str, typer.Option(help="WebSocket base URL, e.g. wss://stream.binance.com:9443")],
    streams: Annotated[str, typer.Option(help="Binance's stream names, separated by commas")],
    out: Annotated[Path, typer.Option(help="folder of the recording")],
    market: Annotated[Market, typer.Option(help="whose streams they are")] = Market.SPOT,
    rotate_mb: Annotated[float, typer.Option(min=0.001, help="begin a new file after so many MB on disk")] = 100.0,
    rotate_minutes: Annotated[float, typer.Option(min=0.001, help="begin a new file after so many minutes")] = 60.0,
) -> None:
    """Record streams of any Binance-compatible exchange until interrupted."""
    names = [name.strip() for name in streams.split(",") if name.strip()]
    if not names:
        sys.exit("--streams must name at least one stream")
    with RecordingWriter(out, market, rotate_bytes=int(rotate_mb * _MEGABYTE), rotate_s=rotate_minutes * 60) as writer:
        asyncio.run(_until_signalled(Recorder(ws_base, market, names, writer)))


async def _until_signalled(recorder: Recorder) -> None:
    recording = asyncio.create_task(recorder.run())
    stop = asyncio.create_task(_signal())
    await asyncio.wait({recording, stop}, return_when=asyncio.FIRST_COMPLETED)
    stop.cancel()
    if recording.done():
        recording.result()
    recording.cancel()
    await asyncio.gather(recording, stop, return_exceptions=True)


async def _signal() -> None:
    """Return at SIGINT or SIGTERM."""
    came = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, came.set)
    await came.wait()


if __name__ == "__main__":
    cli()
