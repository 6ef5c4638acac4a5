"""Whether the hot path of ingest runs compiled, by mypyc, or as its source: the same but for speed."""

from importlib.machinery import EXTENSION_SUFFIXES

from dosestream.hl7 import reader


def form() -> str:
    """`compiled` or `interpreted`: the modules are compiled together, so one tells of all."""
    return "compiled" if str(reader.__file__).endswith(tuple(EXTENSION_SUFFIXES)) else "interpreted"
