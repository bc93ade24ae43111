"""The packet mark's bits: how a packet loop's answer gets back to the chain that asked.

Four bits, by default 0x3c00, away from kube-proxy (0xc000), Calico (0xffff0000 and others by
setting) and Cilium (0x0f00). From low to high:

    bit 0   ASK      beside REMEMBER, the generation's parity; alone it says nothing any more
    bit 1   REMEMBER remember this verdict for such flows
    bit 2   REFUSE   refuse this packet
    bit 3   JUDGED   there is a verdict

One parity bit is enough, because a generation is not left before every loop has answered that it
uses it: a mark can be late by one generation, never by two.
"""

import msgspec

from cnnf.policy.errors import InvalidValueError


class Marks(msgspec.Struct, frozen=True, kw_only=True):
    """The values of our bits for a chosen place in the mark."""

    mask: int
    ask: int
    remember: int
    refuse: int
    judged: int

    @property
    def keep(self) -> int:
        """Everybody else's bits."""
        return ~self.mask & 0xFFFFFFFF

    def verdict(
        self, packet_mark: int, *, remember: bool, generation: int, refuse: bool = False
    ) -> int:
        """The packet's whole new mark: let it through, or let the table refuse it."""
        own = self.judged
        if refuse:
            own |= self.refuse
        if remember:
            own |= self.remember
            if generation & 1:
                own |= self.ask
        return packet_mark & self.keep | own

    def remembered(self, generation: int, *, refuse: bool = False) -> int:
        """What our bits are when the loop asks to remember in this generation."""
        own = self.judged | self.remember | (self.ask if generation & 1 else 0)
        return own | self.refuse if refuse else own


def marks_at(mask: int) -> Marks:
    """The marks for a mask of four neighbouring bits. Raises InvalidValueError for any other."""
    shift = (mask & -mask).bit_length() - 1
    if mask <= 0 or mask > 0xF0000000 or mask >> shift != 0xF:
        raise InvalidValueError(
            f"mark mask {mask:#x}: four neighbouring bits are needed, such as 0x3c00"
        )
    return Marks(
        mask=mask, ask=1 << shift, remember=2 << shift, refuse=4 << shift, judged=8 << shift
    )


DEFAULT_MASK = 0x3C00
