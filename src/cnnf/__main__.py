"""The `cnnf` command, also as `python -m cnnf`."""

import signal


def main() -> None:
    """Run the command. A Ctrl-C while its modules are still loaded ends it without complaint."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    # Imported here, so that the line above comes first.
    from cnnf.cli.main import main as run

    signal.signal(signal.SIGINT, signal.default_int_handler)
    run()


if __name__ == "__main__":
    main()
