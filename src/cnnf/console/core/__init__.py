"""The Console's logic without I/O: ingest merge, radar aggregation, settings."""
