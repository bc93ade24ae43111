"""The cnnf command, one file a command."""
