"""Adapters to the kernel: packet loop, nft table, iptables rules, sockets, namespaces."""
