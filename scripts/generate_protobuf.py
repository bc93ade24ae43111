"""Makes the gRPC messages from their descriptions (`*.proto`), beside them: `make generate`."""

import sys
from pathlib import Path

from grpc_tools import protoc

ROOT = Path(__file__).resolve().parent.parent

#: Where modules are imported from, and the folder in there with descriptions.
PLACES = (
    (ROOT / "src", Path("cnnf/defender/discovery/generated")),
    (ROOT, Path("tests/lab/generated")),
)


def main() -> int:
    """Write a module and its types for each description; protoc's exit code."""
    for top, folder in PLACES:
        names = sorted(str(path.relative_to(top)) for path in (top / folder).glob("*.proto"))
        arguments = ["protoc", f"-I{top}", f"--python_out={top}", f"--pyi_out={top}", *names]
        code = int(protoc.main(arguments))
        if code:
            return code
    return 0


if __name__ == "__main__":
    sys.exit(main())
