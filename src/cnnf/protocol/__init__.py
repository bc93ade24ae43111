"""The messages between Defender and Console, and their codec."""
