//! The packet mark's bits, as in `core/marks.py`: ASK (or the generation's parity), REMEMBER,
//! REFUSE, JUDGED, from low to high in four neighbouring bits.

#[derive(Clone, Copy, Debug)]
pub struct Marks {
    mask: u32,
    ask: u32,
}

impl Marks {
    /// The marks for a mask of four neighbouring bits; `None` for any other.
    pub fn at(mask: u32) -> Option<Marks> {
        if mask == 0 {
            return None;
        }
        let shift = mask.trailing_zeros();
        (mask >> shift == 0xf).then_some(Marks { mask, ask: 1 << shift })
    }

    /// The packet's whole new mark. `remember` in this generation, if there is one.
    pub fn verdict(&self, packet: u32, refuse: bool, remember: Option<u64>) -> u32 {
        let mut own = self.ask << 3;
        if refuse {
            own |= self.ask << 2;
        }
        if let Some(generation) = remember {
            own |= self.ask << 1;
            if generation & 1 == 1 {
                own |= self.ask;
            }
        }
        packet & !self.mask | own
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_elses_bits_are_kept() {
        let marks = Marks::at(0x3c00).unwrap();
        assert_eq!(marks.verdict(0xffff_ffff, false, None), 0xffff_e3ff);
        assert_eq!(marks.verdict(0, false, Some(3)), 0x2c00);
        assert_eq!(marks.verdict(0, true, Some(2)), 0x3800);
        assert_eq!(marks.verdict(0, true, None), 0x3000);
    }

    #[test]
    fn only_four_neighbouring_bits_are_a_mask() {
        for mask in [0, 1, 0xe, 0x1f, 0x1e01, 0xffff_ffff] {
            assert!(Marks::at(mask).is_none());
        }
        assert!(Marks::at(0xf000_0000).is_some());
        assert!(Marks::at(0xf).is_some());
    }
}
