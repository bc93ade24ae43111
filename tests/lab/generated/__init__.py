"""Messages for running pods, made from the description beside them: `make generate`."""
