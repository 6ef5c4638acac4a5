"""Atheris over the way of a message: `python tests/fuzz/harness.py -max_total_time=60 CORPUS...` (libFuzzer's options)."""

import sys

import atheris

with atheris.instrument_imports(include=["dosestream.hl7", "dosestream.mapping", "services.ingest"]):
    from way import pass_through

if __name__ == "__main__":
    atheris.Setup(sys.argv, pass_through)
    atheris.Fuzz()
