"""`python -m cnnf` is the `cnnf` command."""

from cnnf.cli.main import main

if __name__ == "__main__":
    main()
