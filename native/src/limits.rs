//! The loop's bounds. Those that the Python loop has too stand in `core/limits.py` with their
//! arithmetic, under the same names; a test compares the two.

pub const LOOP_BURST_MAX: usize = 64;
pub const PACKET_MESSAGE_BYTES: usize = 2_048;
pub const LOOP_FLOWS_MAX: usize = 8_192;
pub const REPORT_FLOWS_MAX: usize = 500;
pub const REPORT_INTERVAL_MS: u64 = 250;
pub const REPORT_SPACING_MS: u64 = 20;
pub const PULSE_INTERVAL_MS: u64 = 400;

pub const HOLD_MS: u64 = 4;
pub const HOLDS_PER_SECOND_MAX: u64 = 50;
pub const HELD_PACKETS_MAX: usize = 1_024;
pub const HOLD_MS_MAX: u64 = 10_000;

pub const JUDGE_CACHE_MAX: usize = 8_192;
pub const ORDER_BYTES_MAX: usize = 1_048_576;
pub const TABLES_BYTES_MAX: usize = 67_108_864;
pub const TABLE_RULES_MAX: usize = 65_536;
pub const TABLE_CLASSES_MAX: usize = 262_144;
pub const TABLE_STRETCHES_MAX: usize = 1_048_576;
pub const TABLE_ADDRESSES_MAX: usize = 262_144;
pub const TABLE_PEERS_MAX: usize = 65_536;
pub const TABLE_MEMBERS_MAX: usize = 131_072;
pub const STRANGER_DELAY_MS_MAX: u64 = 10_000;
pub const STRANGERS_MAX: usize = 4_096;
pub const STRANGER_FORGET_MS: u64 = 10_000;
pub const STRANGER_TELL_MS: u64 = 1_000;
pub const REPORT_SOUGHT_MAX: usize = 500;
pub const ADDRESS_CANDIDATES_MAX: usize = 64;
pub const SHARED_ROOMS_MAX: usize = 256;
pub const TABLE_LISTENERS_MAX: usize = 65_536;
pub const TABLE_CGROUPS_MAX: usize = 65_536;
pub const TABLE_NETWORKS_MAX: usize = 1_024;
pub const TABLE_HOST_ADDRESSES_MAX: usize = 4_096;
