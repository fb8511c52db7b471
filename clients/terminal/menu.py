"""The menu of document 000's command line, and the line that one types into it. Pure."""

from enum import StrEnum
from typing import Final, NamedTuple

MAX_LINE: Final = 400
_ENTER: Final = "\r\n"
_ERASE: Final = "\x7f\x08"
_ESCAPE: Final = "\x1b"
_END: Final = "\x04"


class Action(StrEnum):
    """What one can ask for."""

    SUBSCRIBE = "Subscribe"
    UNSUBSCRIBE = "Unsubscribe"
    CHANGE = "Change stream type"
    VIEW = "View subscriptions"
    HISTORY = "History"
    QUIT = "Quit"


class Command(NamedTuple):
    """What was asked for, with the line that was typed."""

    action: Action
    line: str = ""


_KEYS: Final = {
    **dict.fromkeys("1sS", Action.SUBSCRIBE),
    **dict.fromkeys("2uU", Action.UNSUBSCRIBE),
    **dict.fromkeys("3cC", Action.CHANGE),
    **dict.fromkeys("4vV", Action.VIEW),
    **dict.fromkeys("5hH", Action.HISTORY),
    **dict.fromkeys("6qQ", Action.QUIT),
}
_QUESTIONS: Final = {
    Action.SUBSCRIBE: "Symbols to subscribe (btcusdt, futures:ethusdt, or a stream like bnbusdt@trade): ",
    Action.UNSUBSCRIBE: "Symbols to unsubscribe (or all): ",
    Action.CHANGE: "Stream type (ticker, kline_1m, depth20, trade, bookTicker, ...): ",
    Action.HISTORY: "Symbol and interval (btcusdt 1m): ",
}


class Menu:
    """Turns key presses into commands: a number or letter chooses, Enter ends the line, Esc gives it up."""

    def __init__(self) -> None:
        self._asking: Action | None = None
        self._line = ""

    @property
    def text(self) -> str:
        """The choices, or the question with what was typed so far."""
        if self._asking is not None:
            return _QUESTIONS[self._asking] + self._line
        return "   ".join(f"{number} {action}" for number, action in enumerate(Action, 1))

    def press(self, key: str) -> Command | None:
        """Take one character; the command that it completes."""
        if key == _END:
            return Command(Action.QUIT)
        if self._asking is None:
            return self._choose(key)
        if key in _ENTER:
            command = Command(self._asking, self._line.strip())
            self._asking = None
            return command if command.line else None
        if key == _ESCAPE:
            self._asking = None
        elif key in _ERASE:
            self._line = self._line[:-1]
        elif key.isprintable() and len(self._line) < MAX_LINE:
            self._line += key
        return None

    def _choose(self, key: str) -> Command | None:
        action = _KEYS.get(key)
        if action is None or action not in _QUESTIONS:
            return Command(action) if action else None
        self._asking, self._line = action, ""
        return None
