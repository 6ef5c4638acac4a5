"""Records drawn from an Avro schema, and what a reader has to see of them; written from the specification alone.

Avro 1.12, "Schema Resolution": a field the reader does not have is ignored, one the writer did not have takes the
reader's default.
"""

from typing import Any

from hypothesis import strategies as st

LONGS = st.integers(-(2**63), 2**63 - 1)
PRIMITIVES: dict[str, st.SearchStrategy[Any]] = {
    "null": st.none(),
    "boolean": st.booleans(),
    "int": st.integers(-(2**31), 2**31 - 1),
    "long": LONGS,
    "double": st.floats(allow_nan=False),
    # Avro strings are UTF-8, which has no surrogates.
    "string": st.text(st.characters(codec="utf-8"), max_size=12),
    "bytes": st.binary(max_size=12),
}


def named(schema: Any, known: dict[str, Any] | None = None) -> dict[str, Any]:
    """The record definitions of a schema by their short names."""
    known = {} if known is None else known
    for branch in schema if isinstance(schema, list) else [schema]:
        if isinstance(branch, dict):
            if branch["type"] == "record":
                known[branch["name"].rsplit(".", 1)[-1]] = branch
                for field in branch["fields"]:
                    named(field["type"], known)
            else:
                named(branch.get("items", branch.get("values")), known)
    return known


def resolved(schema: Any, known: dict[str, Any]) -> Any:
    """A name's definition; a type in braces, `{"type": "long"}`, as its name; anything else as it is."""
    if isinstance(schema, str):
        return known.get(schema.rsplit(".", 1)[-1], schema)
    if isinstance(schema, dict) and schema["type"] in PRIMITIVES:
        return schema["type"]
    return schema


def datums(schema: Any, known: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Every value that the schema allows, small ones."""
    schema = resolved(schema, known)
    if isinstance(schema, list):
        return st.one_of([datums(branch, known) for branch in schema])
    if isinstance(schema, str):
        return PRIMITIVES[schema]
    match schema["type"]:
        case "array":
            return st.lists(datums(schema["items"], known), max_size=2)
        case "map":
            return st.dictionaries(PRIMITIVES["string"], datums(schema["values"], known), max_size=2)
        case _:
            return st.fixed_dictionaries({f["name"]: datums(f["type"], known) for f in schema["fields"]})


def seen(datum: Any, writer: Any, reader: Any, written: dict[str, Any], read: dict[str, Any]) -> Any:
    """What a reader with its schema sees of a value that was written with the writer's."""
    writer, reader = resolved(writer, written), resolved(reader, read)
    if datum is None:
        return None
    if isinstance(writer, list):
        (writer,) = (resolved(branch, written) for branch in writer if branch != "null")
    if isinstance(reader, list):
        (reader,) = (resolved(branch, read) for branch in reader if branch != "null")
    if isinstance(writer, str):
        return datum
    match writer["type"]:
        case "array":
            return [seen(item, writer["items"], reader["items"], written, read) for item in datum]
        case "map":
            return {k: seen(v, writer["values"], reader["values"], written, read) for k, v in datum.items()}
        case _:
            types = {field["name"]: field["type"] for field in writer["fields"]}
            return {
                f["name"]: (
                    seen(datum[f["name"]], types[f["name"]], f["type"], written, read)
                    if f["name"] in types
                    else f["default"]
                )
                for f in reader["fields"]
            }
