"""The Defender's logic without I/O: offload plan, flow aggregation, attribution, limits."""
