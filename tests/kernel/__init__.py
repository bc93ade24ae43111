"""The Defender on a real kernel, in network namespaces of the test's own."""
