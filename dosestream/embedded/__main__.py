"""`python -m dosestream.embedded` fetches the broker's jars and keeps its classes, once, with a progress bar."""

import sys

from dosestream.embedded.errors import StackError
from dosestream.embedded.progress import prepare_broker


def main() -> int:
    """Exit code 2 and one sentence where they cannot be fetched."""
    try:
        prepare_broker()
    except StackError as error:
        print(f"dosestream: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
