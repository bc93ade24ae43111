"""What can be wrong with bytes that came from the kernel.

NetlinkError
├── Truncated       a length points past the end of what was received
├── Unexpected      the bytes are whole, but not what was asked for
├── Interrupted     what was dumped changed meanwhile, so the answer may not be whole; retry
└── KernelRefused   the kernel answered with an errno (held in `errno`)
"""

import errno as errno_names


class NetlinkError(Exception):
    """Bytes from the kernel that cannot be used; the text says where."""


class Truncated(NetlinkError):
    """A length field points past the end of the message."""


class Unexpected(NetlinkError):
    """A whole message with a type or content that cannot be here."""


class Interrupted(NetlinkError):
    """A dump during which the kernel's data changed: parts may be missing or doubled."""


class KernelRefused(NetlinkError):
    """The kernel's error answer. `errno` is positive."""

    def __init__(self, subject: str, errno: int) -> None:
        name = errno_names.errorcode.get(errno, str(errno))
        super().__init__(f"{subject}: {name}")
        self.errno = errno
