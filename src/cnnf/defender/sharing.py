"""Containers that share a network namespace: keeps track of where connections must be told apart.

Called with every change of who is where. Pods, sidecars and `--network container:…` put several
containers behind one address, and only their sockets tell whose a connection is. Each such
namespace is told to every packet loop with a socket that asks in there, while there are several
apps in it: instances of one app need not be told apart.
"""

from cnnf.defender.core.addressbook import AddressBook
from cnnf.defender.core.limits import ADDRESS_CANDIDATES_MAX, SHARED_ROOMS_MAX
from cnnf.defender.core.observations import Room
from cnnf.defender.kernel import namespaces
from cnnf.defender.kernel.loops import Loops
from cnnf.defender.kernel.shared_rooms import Rooms, open_in


class Sharing:
    """The shared namespaces of this host. `rooms` are those that the daemon itself asks in, where
    no loop does (the limited view)."""

    def __init__(self, book: AddressBook, loops: Loops) -> None:
        self.rooms = Rooms()
        self._book = book
        self._loops = loops
        #: By namespace (its inode, which is used again once it is gone): what was told, and a
        #: process in it then.
        self._told: dict[int, tuple[Room, int]] = {}
        self._number = 0

    def update(self) -> None:
        """Tell what has changed. A namespace that can't be entered is tried again next time."""
        wanted = self._wanted()
        for namespace, (room, pid) in list(self._told.items()):
            if wanted.get(namespace) != (room.addresses, pid):
                del self._told[namespace]
                self._loops.share(Room(room.number), 0)
                self.rooms.take(room.number, [], [])
        for namespace, (addresses, pid) in wanted.items():
            if namespace in self._told or len(self._told) >= SHARED_ROOMS_MAX:
                continue
            self._number += 1
            room = Room(self._number, addresses)
            try:
                with open_in(pid) as asking:
                    self.rooms.take(room.number, addresses, [asking.fileno()])
                self._loops.share(room, pid)
            except OSError:
                self._loops.share(Room(room.number), 0)
                self.rooms.take(room.number, [], [])
                continue
            self._told[namespace] = room, pid

    def _wanted(self) -> dict[int, tuple[list[bytes], int]]:
        """Shared namespaces: their addresses, and a process in them."""
        found: dict[int, tuple[list[bytes], int]] = {}
        for address, containers in self._book.behind().items():
            if len({one.image for one in containers}) < 2:
                continue
            pids = [one.pid for one in containers if one.pid]
            try:
                inside = {namespaces.id_of(pid) for pid in pids}
            except OSError:
                continue  # one has just ended, which will be told
            if len(inside) == 1:  # else networks overlap, and who has the address is not certain
                addresses, _ = found.setdefault(inside.pop(), ([], pids[0]))
                if len(addresses) < ADDRESS_CANDIDATES_MAX:
                    addresses.append(address)
        return found
