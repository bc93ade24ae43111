"""Real things for tests: network namespaces and Docker Engines of our own, removed afterwards."""
