"""Messages of container runtimes, made from the descriptions beside them: `make generate`."""
