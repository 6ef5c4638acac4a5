"""Records to bytes and back: Avro with the schema's identity in front.

Two frames are written and always both read: the Confluent wire format (`00`, four bytes of registry id)
where a registry gave the schema an id, else Avro single-object encoding (`C3 01`, eight bytes of
CRC-64-AVRO fingerprint; Avro 1.12 specification, "Single-object encoding").
"""

import json
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from io import BytesIO
from typing import Any, TypeVar, cast

from fastavro import schemaless_reader

from dosestream.events import records
from dosestream.events.decoders import Decoder, compile_decoder
from dosestream.events.encoders import Encoder, PartsEncoder, compile_encoder, compile_parts_encoder
from dosestream.events.records import CLASSES, Event
from dosestream.events.schemas import Schema, by_fingerprint, load

SINGLE_OBJECT = b"\xc3\x01"
CONFLUENT = b"\x00"

E = TypeVar("E")


class CodecError(Exception):
    """A record that cannot be read."""


class MalformedRecordError(CodecError):
    """The bytes are no Avro of their schema: quarantine the record and go on."""


class UnknownSchemaError(CodecError):
    """The writer's schema is not known: stop, publish the schema, then read on."""


@dataclass(frozen=True, slots=True)
class Codec:
    """Encodes with this release's schemas; decodes with whatever schema the record was written with.

    Attributes:
        registry_ids: schema name to the id the schema registry gave it; empty without a registry.
        find_fingerprint: looks up schemas this release does not carry (from `radiology.schemas.v1`).
        find_registry_id: looks up a schema by registry id.
    """

    registry_ids: Mapping[str, int] = field(default_factory=dict)
    find_fingerprint: Callable[[bytes], Schema | None] | None = None
    find_registry_id: Callable[[int], Schema | None] | None = None
    _known: dict[bytes, Schema] = field(default_factory=lambda: dict(by_fingerprint()))
    _prefixes: dict[type, tuple[bytes, Schema]] = field(default_factory=dict)
    _encoders: dict[type, tuple[bytes, Encoder]] = field(default_factory=dict)
    _parts_encoders: dict[type, tuple[bytes, PartsEncoder]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, cls in CLASSES.items():
            schema = load(name)
            if (registry_id := self.registry_ids.get(name)) is not None:
                prefix = CONFLUENT + registry_id.to_bytes(4, "big")
                self._known[prefix] = schema
            else:
                prefix = SINGLE_OBJECT + schema.fingerprint
            self._prefixes[cls] = (prefix, schema)
            self._encoders[cls] = (prefix, _encoder(schema.text))
            self._parts_encoders[cls] = (prefix, _parts_encoder(schema.text))

    def encode(self, event: Event) -> bytes:
        """The event as one record value."""
        prefix, encode = self._encoders[type(event)]
        return encode(prefix, event)

    def encode_parts(self, cls: type, fields: dict[str, Any]) -> bytes:
        """The event of that class with these fields as one record value: the bytes `encode` makes of the object.

        Raises:
            KeyError: a field without default is absent.
        """
        prefix, encode = self._parts_encoders[cls]
        return encode(prefix, fields)

    def decode(self, value: bytes, expected: type[E]) -> E:
        """One record value as the expected class.

        Raises:
            UnknownSchemaError: the writer's schema is not known here.
            MalformedRecordError: the bytes cannot be read as that schema, or as the expected class.
        """
        writer, start = self._writer(value)
        _, reader = self._prefixes[expected]
        if writer.fingerprint == reader.fingerprint:
            try:
                event, end = _decoder(reader.text)(value, start)
                if end <= len(value):
                    return cast(E, event)
            except (LookupError, ValueError, struct.error):
                pass  # What it cannot read, fastavro reads or refuses with its reason.
        stream = BytesIO(value)
        stream.seek(start)
        try:
            datum = schemaless_reader(
                stream, writer.parsed, None if writer.fingerprint == reader.fingerprint else reader.parsed
            )
            return cast(E, expected.from_datum(datum))  # type: ignore[attr-defined]
        except Exception as error:  # fastavro raises many kinds for broken bytes
            raise MalformedRecordError(f"no {expected.__name__} record: {error!r}") from error

    def _writer(self, value: bytes) -> tuple[Schema, int]:
        if value[:2] == SINGLE_OBJECT:
            key, start = value[2:10], 10
            if (schema := self._known.get(key)) is None and self.find_fingerprint is not None:
                schema = self.find_fingerprint(key)
            name = f"fingerprint {key.hex()}"
        elif value[:1] == CONFLUENT and len(value) > 5:
            key, start = value[:5], 5
            if (schema := self._known.get(key)) is None and self.find_registry_id is not None:
                schema = self.find_registry_id(int.from_bytes(value[1:5], "big"))
            name = f"registry id {int.from_bytes(value[1:5], 'big')}"
        else:
            raise MalformedRecordError("begins with neither C3 01 nor 00: not written by a Dosestream codec")
        if schema is None:
            raise UnknownSchemaError(
                f"schema with {name} is not known: publish it on radiology.schemas.v1 or in the registry, "
                "or run the release that knows it"
            )
        self._known[key] = schema
        return schema, start


@cache
def _decoder(text: str) -> Decoder:
    """The decoder of one of this release's schemas; compiled when its first record comes."""
    return compile_decoder(json.loads(text), vars(records))


@cache
def _encoder(schema: str) -> Encoder:
    return compile_encoder(json.loads(schema))


@cache
def _parts_encoder(schema: str) -> PartsEncoder:
    return compile_parts_encoder(json.loads(schema))
