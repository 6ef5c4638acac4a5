"""Any value of an Avro schema, as fastavro takes it."""

from typing import Any

from hypothesis import strategies as st

from dosestream.events.binary import LISTED

# Lengths and numbers at which their writing takes another byte or another way, and characters of several bytes.
TEXTS = st.sampled_from(["", "", "", '""', "Müller^Ann", "検査", "x" * 63, "x" * 64, "ü" * 65, "y" * LISTED])
LONGS = st.sampled_from([0, -1, 63, 64, -64, -65, LISTED - 1, LISTED, 2**48, 2**55, 2**63 - 1, -(2**63)])
PRIMITIVES: dict[str, st.SearchStrategy[Any]] = {
    "string": TEXTS | st.text(st.characters(exclude_categories=["Cs"]), max_size=4),
    "bytes": st.binary(max_size=8) | st.just(bytes(80)),
    "long": LONGS | st.integers(-(2**63), 2**63 - 1),
    "int": st.sampled_from([0, -1, 63, 64, -64, -65, 2**31 - 1, -(2**31)]) | st.integers(-70, 70),
    "boolean": st.booleans(),
    "double": st.floats(allow_nan=False),
    "null": st.none(),
}


def any_datum(schema: Any, named: dict[str, Any] | None = None) -> st.SearchStrategy[Any]:
    """Any value of a schema; `named` are the records it was found to define so far."""
    known: dict[str, Any] = {} if named is None else named
    match schema:
        case list():
            return st.one_of(*(any_datum(branch, known) for branch in schema))
        case {"type": "record"}:
            known[schema["name"]] = schema
            return st.fixed_dictionaries({f["name"]: any_datum(f["type"], known) for f in schema["fields"]})
        case {"type": "array"}:
            return st.lists(any_datum(schema["items"], known), max_size=2)
        case {"type": "map"}:
            return st.dictionaries(TEXTS, any_datum(schema["values"], known), max_size=2)
        case {"type": str(primitive)}:
            return PRIMITIVES[primitive]
        case _:
            return (
                PRIMITIVES[schema]
                if schema in PRIMITIVES
                else any_datum(known[schema.rsplit(".", 1)[-1]], known)
            )
