"""What can be wrong with a message.

ProtocolError
├── MalformedMessage     the peer erred: the bytes are no message of ours; never retry
├── UnsupportedVersion   the peer is too old or too new; retry after an upgrade
└── MessageTooLarge      a stated bound was passed; never retry as it is
"""


class ProtocolError(Exception):
    """A message cannot be taken; the text says what and where."""


class MalformedMessage(ProtocolError):
    """The bytes do not decode to the expected message."""


class UnsupportedVersion(ProtocolError):
    """The message's version is outside the window this program understands."""


class MessageTooLarge(ProtocolError):
    """The message passes a bound of `limits.py`."""
