"""A plugin of pytest: it refuses to run unless each module of the hot path is compiled."""

from importlib import import_module
from importlib.machinery import EXTENSION_SUFFIXES

import pytest
from compiled_tree import modules


def pytest_configure() -> None:
    """Import them all; what the tests import afterwards is these.

    Raises:
        pytest.UsageError: the source of one was found first.
    """
    found = {name: str(import_module(name).__file__) for name in modules()}
    if plain := [path for path in found.values() if not path.endswith(tuple(EXTENSION_SUFFIXES))]:
        raise pytest.UsageError(f"not compiled: {', '.join(plain)}")
