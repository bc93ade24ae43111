"""Adapters that find out what runs here: containers and host services."""
