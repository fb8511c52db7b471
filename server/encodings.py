"""What an encoding is: how one door writes one message to its clients."""

from abc import ABC, abstractmethod

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
    def gap(self, stream: StreamName, missed: int, until: int) -> bytes | None:
        """The body that tells a client how many messages of `stream` it missed, the last with cursor `until`.

        None where the protocol has no words for it: values of a state stream are then replaced
        silently, and a client that would miss an event is let go before it does.
        """
