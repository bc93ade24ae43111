"""The agent on a host: sees each connection before it is set up and says who makes it."""
