"""Commands for pipes: what they write, and how they end."""

import itertools
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any, Final

import pytest
from typer.testing import CliRunner, Result

from clients.terminal.__main__ import cli
from tests.server.access.minting import mint
from tests.support.processes import ROOT, free_port

COMMAND: Final = (sys.executable, "-W", "error", "-m", "clients.terminal")


@pytest.fixture(autouse=True)
def _environment(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TICKCAST_URL", url)


def run(*words: str, **env: str) -> Result:
    """The command in this process."""
    return CliRunner().invoke(cli, words, prog_name="tickcast", env=env)


def piped(line: str) -> subprocess.CompletedProcess[str]:
    """A line of bash, in which `tickcast` is the command; the exit status is that of `tickcast`."""
    script = (
        f'tickcast() {{ "{sys.executable}" -W error -m clients.terminal "$@"; }}; {line}; exit "${{PIPESTATUS[0]}}"'
    )
    return subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=30, cwd=ROOT, check=False)


def test_a_pipe_gets_one_json_object_a_line_and_may_end_when_it_has_enough() -> None:
    done = piped("tickcast watch btcusdt@trade futures:btcusdt@markPrice@1s --json | head -4")
    assert (done.returncode, done.stderr) == (0, "")
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(events) == 4
    messages = [event for event in events if event["event"] == "message"]
    assert messages
    assert all(set(message) == {"event", "stream", "cursor", "ts", "data"} for message in messages)


def test_a_live_table_in_a_pipe_is_lines() -> None:
    done = piped("tickcast live | head -5")
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert all(line[2] == line[5] == ":" for line in lines)
    shown = {line.split()[1] for line in lines} - {"Exchange"}
    assert shown
    assert shown <= {f"spot:{asset}usdt@ticker" for asset in ("btc", "eth", "bnb", "sol", "ada")}


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("watch", "btcusdt@trade", "btcusdz@trade"), "btcusdz@trade: Unknown spot symbol: BTCUSDZ"),
        (("watch", "btcusdt@nothing"), "Invalid stream: btcusdt@nothing"),
        (("watch", "btcusdt@ticker", "--throttle", "7"), "bad_request"),
        (("history", "nosuch", "1m"), "unknown_symbol"),
        (("symbols", "--market", "mars"), "No market mars: there are spot, futures"),
        (("live", "nosuchusdt"), "unknown_symbol"),
    ],
)
def test_what_is_refused_is_a_sentence_on_standard_error_and_a_failure(words: tuple[str, ...], sentence: str) -> None:
    done = run(*words)
    assert (done.exit_code, done.stdout) == (1, "")
    assert sentence in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("words", [("watch", "btcusdt@trade"), ("symbols",), ("history", "btcusdt"), ("live",)])
def test_a_service_that_is_not_there_is_a_sentence_and_a_failure(words: tuple[str, ...]) -> None:
    done = run(*words, "--url", f"http://127.0.0.1:{free_port()}")
    assert (done.exit_code, done.stdout) == (1, "")
    assert "(unreachable)" in done.stderr
    assert done.stderr.count("\n") == 1


def test_ctrl_c_ends_without_a_trace() -> None:
    with subprocess.Popen(
        [*COMMAND, "watch", "btcusdt@trade"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT
    ) as child:
        assert child.stdout is not None
        assert any("spot:btcusdt@trade" in line for line in child.stdout)
        child.send_signal(signal.SIGINT)
        _, errors = child.communicate(timeout=10)
    assert (child.returncode, errors) == (130, "")


def test_history_is_a_table_or_json_oldest_first() -> None:
    table = run("history", "futures:BTCUSDT", "1m", "--limit", "3").stdout.splitlines()
    assert table[0] == "History of FUTURES:BTCUSDT 1m:"
    assert len(table) == 4
    rows: list[dict[str, Any]] = [
        json.loads(line) for line in run("history", "BTCUSDT", "1h", "--json").stdout.splitlines()
    ]
    assert len(rows) == 20
    assert all(after["open_time"] == before["close_time"] + 1 for before, after in itertools.pairwise(rows))


def test_symbols_are_found_by_a_part_of_their_name_and_in_spite_of_typing_errors() -> None:
    every = run("symbols").stdout.split()
    assert "BTCUSDT" in every
    assert len(every) == 8
    assert run("symbols", "--search", "eth").stdout.split()[0] == "ETHUSDT"
    assert "BTCUSDT" in run("symbols", "--search", "btcsudt").stdout.split()


def test_help_of_every_command_has_examples_and_names_its_variables() -> None:
    overview = run("--help").stdout
    for name in ("live", "watch", "history", "symbols", "streams"):
        assert f" {name} " in overview
    for name in ("live", "watch", "history", "symbols"):
        text = run(name, "--help").stdout
        assert "For example:" in text
        assert "TICKCAST_URL" in text
        assert "TICKCAST_TOKEN" in text
    assert "aggTrade" in run("streams").stdout


def completions(line: str) -> Iterator[str]:
    words = line.split(" ")
    env = {"_TICKCAST_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1)}
    yield from run(**env).stdout.split()


def test_the_shell_completes_commands_symbols_streams_and_intervals(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clients.terminal.__main__._COMPLETION_TIMEOUT_S", 15.0)
    assert list(completions("tickcast wa")) == ["watch"]
    assert list(completions("tickcast history bt")) == ["btcusdt"]
    assert "futures:ETHUSDT" in completions("tickcast live futures:ET")
    assert list(completions("tickcast watch btcusdt@agg")) == ["btcusdt@aggTrade"]
    assert list(completions("tickcast history btcusdt 15")) == ["15m"]


def test_completion_is_silent_where_there_is_no_service(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TICKCAST_URL", f"http://127.0.0.1:{free_port()}")
    assert list(completions("tickcast live btc")) == []


@pytest.mark.parametrize("words", [("history", "BTCUSDT", "1m"), ("watch", "btcusdt@trade"), ("symbols",)])
def test_credentials_are_shown_at_both_doors(words: tuple[str, ...]) -> None:
    refused = run(*words, TICKCAST_TOKEN="wrong")  # noqa: S106 # that is the point
    assert (refused.exit_code, refused.stdout) == (1, "")
    assert "(unauthorized)" in refused.stderr
    assert refused.stderr.count("\n") == 1


def test_a_token_grants_what_it_says() -> None:
    token = mint(tickcast={"streams": ["spot:btc*"]})
    assert run("history", "BTCUSDT", "--token", token).exit_code == 0
    assert "(forbidden)" in run("history", "ETHUSDT", "--token", token).stderr
    assert run("symbols", TICKCAST_TOKEN=token).exit_code == 0
