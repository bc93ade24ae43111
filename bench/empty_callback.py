"""NetfilterQueue with an empty callback: `python empty_callback.py LIBRARY QUEUE`, until killed.

Not imported by anything: run by rivals.py. LIBRARY is the directory in which the library was built.
"""

import importlib
import sys

_COPY_BYTES = 128
_QUEUE_LENGTH = 16_384
_BUFFER_BYTES = 32 * 1024 * 1024


def main() -> None:
    library, number = sys.argv[1:]
    sys.path.insert(0, library)
    queue = importlib.import_module("netfilterqueue").NetfilterQueue()
    queue.bind(
        int(number),
        lambda packet: packet.accept(),
        max_len=_QUEUE_LENGTH,
        range=_COPY_BYTES,
        sock_len=_BUFFER_BYTES,
    )
    print("ready", flush=True)
    queue.run()


if __name__ == "__main__":
    main()
