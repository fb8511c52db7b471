"""What an encoding is: how one door writes one message to its clients."""

from abc import ABC, abstractmethod

from market.messages import Message


class Encoding(ABC):
    """A way of writing messages. One object per way, compared by identity: clients of one share frames.

    `paced` encodings send the latest value at a fixed pace (`Hub.pace`) instead of every message.
    """

    paced = False

    @abstractmethod
    def encode(self, message: Message) -> bytes:
        """The text of the frame that carries `message`, in UTF-8."""
