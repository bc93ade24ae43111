"""Bytes to values and back: the netlink families the Defender speaks."""
