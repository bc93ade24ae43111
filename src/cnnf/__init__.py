"""cnnf, a self-hosted Cloud Native Network Firewall."""

__version__ = "0.1.0"
