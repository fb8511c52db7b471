"""The live table in a terminal, by keys, as document 000's command line has it."""

import re
from typing import Final

from tests.support.processes import Process
from tests.terminal.screen import Screen

_COLOR: Final = re.compile(r"\x1b\[(\d+;)*[39][0-7]m")


def test_the_menu_of_document_000_subscribes_changes_shows_and_unsubscribes(url: str) -> None:
    with Screen(url, "live", "btcusdt") as screen:
        screen.shows(r"1 Subscribe   2 Unsubscribe   3 Change stream type   4 View subscriptions   5 History   6 Quit")
        screen.shows(r"spot:btcusdt@ticker +\d+\.\d\d +[▲▼ ] [+-]\d")
        assert "SIMULATED" in screen.text
        assert _COLOR.search(screen.raw)

        screen.type("1")
        screen.shows("Symbols to subscribe")
        screen.type("ethusdt, futures:bnbusdt\r")
        screen.shows(r"futures:bnbusdt@ticker +\d")

        screen.type("3")
        screen.shows("Stream type")
        screen.type("tradf\x7fe\x7f\x7fde\r")
        screen.shows("Stream type is trade now")
        screen.shows(r"spot:ethusdt@trade +\d.*(bought|sold)")

        screen.type("2")
        screen.shows("Symbols to unsubscribe")
        screen.type("btcusdt\r")
        screen.shows("Unsubscribed spot:btcusdt@trade")

        screen.type("4")
        screen.shows("Current subscriptions: spot:ethusdt@trade, futures:bnbusdt@trade")

        screen.type("5")
        screen.shows("Symbol and interval")
        screen.type("ethusdt 1m\r")
        screen.shows(r"History of ETHUSDT 1m:\s+\d{4}-\d\d-\d\d \d\d:\d\d:00 +\d")

        screen.type("6")
        assert screen.ends() == 0
        assert screen.settings_now() == screen.settings


def test_what_is_refused_is_said_with_a_suggestion_and_the_table_goes_on(url: str) -> None:
    with Screen(url, "live", "btcusdt") as screen:
        screen.shows("1 Subscribe")
        screen.type("sbtcusd\r")
        screen.shows("Unknown spot symbol: BTCUSD.*BTCUSDT")
        screen.type("s\x1b")
        screen.shows("spot:btcusdt@ticker.*\n(.*\n)+.*1 Subscribe")
        screen.type("\x03")
        assert screen.ends() == 0
        assert "Traceback" not in screen.text
        assert screen.settings_now() == screen.settings


def test_a_small_screen_without_colors_shows_prices_and_menu_and_says_what_it_hides(url: str) -> None:
    symbols = [f"{asset}usdt@{kind}" for asset in ("btc", "eth", "bnb") for kind in ("ticker", "trade", "bookTicker")]
    with Screen(url, "live", *symbols, size=(14, 80), env={"NO_COLOR": "1"}) as screen:
        screen.shows(r"spot:btcusdt@ticker +\d+\.\d\d +[▲▼ ] [+-]\d(.*\n)+and \d more(.*\n)+1 Subscribe")
        assert "Course" not in screen.text
        assert not _COLOR.search(screen.raw)
        screen.type("q")
        assert screen.ends() == 0


def test_a_history_of_no_symbol_is_a_question_back(url: str) -> None:
    with Screen(url, "live", "btcusdt") as screen:
        screen.shows("1 Subscribe")
        screen.type("h,\r")
        screen.shows(r"Which symbol\?(.*\n)+.*1 Subscribe")
        screen.type("q")
        assert screen.ends() == 0


def test_rows_of_the_kind_before_are_gone_also_where_all_symbols_are_shown(url: str) -> None:
    with Screen(url, "live", "*") as screen:
        screen.shows(r"spot:btcusdt@ticker +\d")
        screen.type("3trade\r")
        screen.shows(
            r"exchange connected((?!@ticker)[^$])+spot:\w+@trade +\d((?!@ticker)[^$])+Stream type is trade now"
            r"((?!@ticker)[^$])+1 Subscribe"
        )
        screen.type("q")
        assert screen.ends() == 0


def test_the_menu_stays_on_a_small_screen_below_candles_of_the_past(url: str) -> None:
    with Screen(url, "live", "btcusdt", size=(24, 80)) as screen:
        screen.shows(r"spot:btcusdt@ticker +\d")
        for _ in range(4):
            screen.type("sbtcusd\r")
            screen.shows("Unknown spot symbol: BTCUSD")
        screen.type("hethusdt 1m\r")
        screen.shows(r"spot:btcusdt@ticker +\d(.*\n)+History of ETHUSDT 1m:(.*\n)+.*Unknown spot(.*\n)+1 Subscribe")
        screen.type("q")
        assert screen.ends() == 0


def test_who_quits_does_not_wait_for_a_command_that_waits_for_the_service(service: Process, url: str) -> None:
    with Screen(url, "live", "btcusdt") as screen:
        screen.shows(r"spot:btcusdt@ticker +\d")
        service.kill()
        try:
            screen.shows("reconnecting")
            screen.type("sethusdt\r")
            screen.shows("1 Subscribe")
            screen.type("q")
            assert screen.ends() == 0
        finally:
            service.start()


def test_a_service_that_ends_leaves_the_table_as_it_was_and_says_so(service: Process, url: str) -> None:
    with Screen(url, "live", "btcusdt") as screen:
        screen.shows(r"spot:btcusdt@ticker +\d")
        service.kill()
        screen.shows(r"reconnecting(.*\n)+.*Connection lost .* coming back")
        service.start()
        screen.shows(r"Back at .* after \d")
        screen.type("\x04")
        assert screen.ends() == 0
