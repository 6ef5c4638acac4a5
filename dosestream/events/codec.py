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
from dosestream.events.binary import AroundEncoder, Encoder, PartsEncoder, long
from dosestream.events.decoders import Decoder, compile_decoder
from dosestream.events.record_encoders import AROUND_ENCODERS, ENCODERS, PARTS_ENCODERS
from dosestream.events.records import CLASSES, Event
from dosestream.events.schemas import Schema, by_fingerprint, load

SINGLE_OBJECT = b"\xc3\x01"
CONFLUENT = b"\x00"

E = TypeVar("E")


class CodecError(Exception):
    """A record that cannot be read."""


class MalformedRecordError(CodecError):
    """The bytes are no Avro of their schema: quarantine the record and go on."""


class NotRegisteredError(CodecError):
    """The schema registry has not given the schema its id yet, so no record may be written: try again later."""


class UnknownSchemaError(CodecError):
    """The writer's schema is not known: stop, publish the schema, then read on."""


@dataclass(frozen=True, slots=True)
class Codec:
    """Encodes with this release's schemas; decodes with whatever schema the record was written with.

    Attributes:
        registry_ids: schema name to the id the schema registry gave it; empty without a registry.
        ask_registry: has every schema registered and returns schema name to id; None without a registry. With it
            nothing can be encoded before `register()`, or before all ids are in `registry_ids`.
        find_fingerprint: looks up schemas this release does not carry (from `radiology.schemas.v1`).
        find_registry_id: looks up a schema by registry id.
    """

    registry_ids: Mapping[str, int] = field(default_factory=dict)
    ask_registry: Callable[[], Mapping[str, int]] | None = None
    find_fingerprint: Callable[[bytes], Schema | None] | None = None
    find_registry_id: Callable[[int], Schema | None] | None = None
    _known: dict[bytes, Schema] = field(default_factory=lambda: dict(by_fingerprint()))
    _readers: dict[type, Schema] = field(default_factory=dict)
    _encoders: dict[type, tuple[bytes, Encoder]] = field(default_factory=dict)
    _parts_encoders: dict[type, tuple[bytes, PartsEncoder]] = field(default_factory=dict)
    _around_encoders: dict[type, tuple[bytes, AroundEncoder]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, cls in CLASSES.items():
            self._readers[cls] = load(name)
        if self.ask_registry is None or self.registry_ids:
            self._write_with(self.registry_ids)

    def register(self) -> None:
        """Have the registry give every schema its id, unless it did before; nothing to do without a registry.

        Ids are kept for the life of the codec: once it has them, the registry may be away.

        Raises:
            Exception: whatever `ask_registry` raises; nothing can be encoded yet, and it may be called again.
        """
        if self.ask_registry is not None and not self._encoders:
            self._write_with(self.ask_registry())

    @property
    def is_registered(self) -> bool:
        """Whether anything can be encoded."""
        return bool(self._encoders)

    def _write_with(self, ids: Mapping[str, int]) -> None:
        prefixes = {cls: self._prefix(ids.get(name), load(name)) for name, cls in CLASSES.items()}
        for cls, prefix in prefixes.items():
            if cls in AROUND_ENCODERS:
                self._around_encoders[cls] = prefix, AROUND_ENCODERS[cls]
            else:
                self._parts_encoders[cls] = prefix, PARTS_ENCODERS[cls]
        self._encoders.update({cls: (prefix, ENCODERS[cls]) for cls, prefix in prefixes.items()})

    def _prefix(self, registry_id: int | None, schema: Schema) -> bytes:
        if registry_id is None:
            return SINGLE_OBJECT + schema.fingerprint
        prefix = CONFLUENT + registry_id.to_bytes(4, "big")
        self._known[prefix] = schema
        return prefix

    def encode(self, event: Event) -> bytes:
        """The event as one record value.

        Raises:
            NotRegisteredError: the schema registry is still to give the schema its id.
        """
        try:
            prefix, encode = self._encoders[type(event)]
        except KeyError:
            raise _not_registered(type(event)) from None
        return encode(prefix, event)

    def encode_parts(self, cls: type, fields: dict[str, Any]) -> bytes:
        """The event of that class with these fields as one record value: the bytes `encode` makes of the object.

        Not of the classes of `encode_around`.

        Raises:
            KeyError: a field without default is absent.
            NotRegisteredError: the schema registry is still to give the schema its id.
        """
        try:
            prefix, encode = self._parts_encoders[cls]
        except KeyError:
            raise _not_registered(cls) from None
        return encode(prefix, fields)

    def encode_around(self, cls: type, fields: dict[str, Any]) -> tuple[bytes, bytes]:
        """The record value of a Patient, Order, Appointment or Report before and behind `position`'s bytes, which
        stand for its `raw_partition` and `raw_offset`.

        Raises: as `encode_parts`.
        """
        try:
            prefix, encode = self._around_encoders[cls]
        except KeyError:
            raise _not_registered(cls) from None
        return encode(prefix, fields)

    def decode(self, value: bytes, expected: type[E]) -> E:
        """One record value as the expected class.

        Raises:
            UnknownSchemaError: the writer's schema is not known here.
            MalformedRecordError: the bytes cannot be read as that schema, or as the expected class.
        """
        writer, start = self._writer(value)
        reader = self._readers[expected]
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


def position(partition: int, offset: int) -> bytes:
    """The bytes of an event that say where its raw record lies."""
    return long(partition) + long(offset)


def _not_registered(cls: type) -> NotRegisteredError:
    return NotRegisteredError(
        f"{cls.__name__}: the schema registry has not given its schema an id yet: see that it runs"
    )


@cache
def _decoder(text: str) -> Decoder:
    """The decoder of one of this release's schemas; compiled when its first record comes."""
    return compile_decoder(json.loads(text), vars(records))
