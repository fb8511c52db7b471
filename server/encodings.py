"""What an encoding is: how one door writes one message to its clients."""

from abc import ABC, abstractmethod

from market.errors import MarketError
from market.messages import Message
from market.streams import StreamName


class Encoding(ABC):
    """A way of writing messages. One object per way, compared by identity: clients of one share frames."""

    binary = False
    """Whether frames carry bytes rather than text."""

    @abstractmethod
    def encode(self, message: Message) -> bytes:
        """The body of the frame that carries `message`. Raises ValueError for a payload it cannot read."""

    @abstractmethod
    def gap(self, stream: StreamName, missed: int, until: int, *, upstream: bool = False) -> bytes | None:
        """The body that tells a client how many messages of `stream` it missed, the last with cursor `until`.

        `upstream` where they never came from the exchange; otherwise the client was too slow for them.
        None where the protocol has no words for it: values of a state stream are then replaced
        silently, and a client that would miss an event is let go before it does.
        """

    def refusal(self, stream: StreamName, error: MarketError) -> bytes | None:  # noqa: ARG002 # for those who have words
        """The body that tells a client why nothing comes of a stream that it has joined.

        None where the protocol has no words for it.
        """
        return None


def gap_reason(stream: StreamName, *, upstream: bool) -> str:
    """Why a client missed messages, as it is told: `upstream`, or too slow for them `conflated` or `dropped`."""
    if upstream:
        return "upstream"
    return "conflated" if stream.is_state else "dropped"
