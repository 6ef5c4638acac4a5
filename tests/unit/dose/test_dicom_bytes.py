"""The lean reader against pydicom, against illegal encodings, and against bytes that are cut or broken."""

from io import BytesIO
from typing import Any

import pydicom
import pytest
import sr_builder as sr
from arrived import instance, study_of
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import Dataset
from pydicom.encaps import encapsulate
from sr_builder import coded, container, num

from dosestream.dose.arrival import study_event
from dosestream.dose.dataset import SEQUENCES, DataSet, DataSetError, Encoding, read
from dosestream.dose.part10 import deflate, header_only, inflate, join, split
from dosestream.events.records import Rejection, Study
from dosestream.settings import Settings

EXPLICIT, IMPLICIT = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2"
BIG_ENDIAN, DEFLATED = "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99"
JPEG = "1.2.840.10008.1.2.4.50"
LITTLE = Encoding(explicit=True, big_endian=False)


def report() -> Dataset:
    events = [
        sr.event(num("122130", str(n), "Gy.m2"), coded("113721", sr.FLUOROSCOPY), event_uid=f"1.2.{n}")
        for n in range(3)
    ]
    return sr.projection(*events, totals=(num("113722", "6", "Gy.m2"),))


def undefined_lengths(data_set: Dataset) -> Dataset:
    for element in data_set:
        if element.VR == "SQ":
            element.is_undefined_length = True
            for item in element.value:
                item.is_undefined_length_sequence_item = True
                undefined_lengths(item)
    return data_set


def as_dict(data_set: Dataset) -> dict[int, Any]:
    """What pydicom reads, in the lean reader's shape: bytes as stored, wanted sequences only."""
    result: dict[int, Any] = {}
    for tag in data_set.keys():  # noqa: SIM118 - a data set's keys are its tags
        element = data_set.get_item(tag)
        assert element is not None
        if element.VR == "SQ" or int(tag) in SEQUENCES:
            if int(tag) in SEQUENCES:
                result[int(tag)] = [as_dict(item) for item in data_set[tag].value]
        else:
            # pydicom decodes the character set at once.
            result[int(tag)] = element.value.encode() if isinstance(element.value, str) else element.value
    return result


@pytest.mark.parametrize("transfer_syntax", [EXPLICIT, IMPLICIT, BIG_ENDIAN, DEFLATED])
@pytest.mark.parametrize("undefined", [False, True], ids=["defined lengths", "undefined lengths"])
def test_the_reader_reads_what_pydicom_reads(transfer_syntax: str, undefined: bool) -> None:
    source = undefined_lengths(report()) if undefined else report()
    body = sr.part10(source, transfer_syntax)
    assert split(body).read() == as_dict(pydicom.dcmread(BytesIO(body)))


def element(tag: int, vr: bytes, value: bytes) -> bytes:
    head = (tag >> 16).to_bytes(2, "little") + (tag & 0xFFFF).to_bytes(2, "little")
    if vr in (b"OB", b"SQ", b"UN", b"UT", b"XQ"):
        return head + vr + b"\0\0" + len(value).to_bytes(4, "little") + value
    return head + vr + len(value).to_bytes(2, "little") + value


def item(value: bytes) -> bytes:
    return b"\xfe\xff\x00\xe0" + len(value).to_bytes(4, "little") + value


STUDY_UID = element(0x0020000D, b"UI", b"1.2\0")
UNDEFINED = b"\xff\xff\xff\xff"
SEQUENCE_END = b"\xfe\xff\xdd\xe0\0\0\0\0"
IMPLICIT_CODE = b"\x08\0\0\1\4\0\0\0" + b"1234"


@pytest.mark.parametrize(
    ("name", "data", "tag", "expected"),
    [
        ("an unknown VR of the short form", element(0x00080060, b"ZZ", b"CT"), 0x00080060, b"CT"),
        ("an unknown VR of the long form", element(0x00080060, b"XQ", b"CT"), 0x00080060, b"CT"),
        ("a blank VR", element(0x00080060, b"  ", b"CT"), 0x00080060, b"CT"),
        ("a VR of zeros", element(0x00080060, b"\0\0", b"CT"), 0x00080060, b"CT"),
        ("an implicit element among explicit ones", b"\x08\0\x60\0\2\0\0\0CT", 0x00080060, b"CT"),
        (
            "a wanted sequence of VR UN, implicit inside",
            element(0x00081032, b"UN", item(IMPLICIT_CODE)),
            0x00081032,
            [{0x00080100: b"1234"}],
        ),
        (
            "a wanted sequence of VR UN and undefined length",
            b"\x08\0\x32\x10UN\0\0" + UNDEFINED + item(IMPLICIT_CODE) + SEQUENCE_END,
            0x00081032,
            [{0x00080100: b"1234"}],
        ),
        (
            "a private sequence of undefined length is stepped over",
            b"\x09\0\x01\x10SQ\0\0" + UNDEFINED + item(element(0x00091002, b"LO", b"ab")) + SEQUENCE_END,
            0x00091001,
            None,
        ),
        (
            "an icon's encapsulated pixels are stepped over",
            b"\x09\0\x01\x10OB\0\0" + UNDEFINED + item(b"\1\2\3\4") + SEQUENCE_END,
            0x00091001,
            None,
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_odd_encoding_costs_nothing_else(name: str, data: bytes, tag: int, expected: object) -> None:
    del name
    data_set: DataSet = read(data + STUDY_UID, LITTLE)
    assert data_set.get(tag) == expected
    assert data_set[0x0020000D] == b"1.2\0"


CODED = 0x0040A043
ONE_CODE = item(element(0x00080100, b"SH", b"113706") + element(0x00080102, b"SH", b"DCM "))
UNDEFINED_CODE = b"\x40\0\x43\xa0SQ\0\0" + UNDEFINED + ONE_CODE + SEQUENCE_END


@pytest.mark.parametrize(
    ("name", "data", "expected"),
    [
        ("of defined length", element(CODED, b"SQ", ONE_CODE), 1),
        ("of undefined length", UNDEFINED_CODE, 1),
        ("empty", element(CODED, b"SQ", b""), 0),
        ("empty, of undefined length", UNDEFINED_CODE[:12] + SEQUENCE_END, 0),
        ("larger than what is kept", element(CODED, b"SQ", ONE_CODE * 40), 40),
        (
            "with the delimiter's bytes in a text",
            element(CODED, b"SQ", item(b"\x08\0\0\1SH\4\0\xfe\xff\xdd\xe0")),
            1,
        ),
        (
            "with the delimiter's bytes in a text, of undefined length",
            UNDEFINED_CODE[:12] + item(b"\x08\0\0\1SH\4\0\xfe\xff\xdd\xe0") + SEQUENCE_END,
            1,
        ),
        ("with an illegal VR", element(CODED, b"SQ", item(element(0x00080100, b"ZZ", b"1234"))), 1),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_code_sequence_that_comes_again_is_read_as_the_first_time(
    name: str, data: bytes, expected: int
) -> None:
    del name
    first, again, twice = read(data, LITTLE), read(data + STUDY_UID, LITTLE), read(data + data, LITTLE)
    assert first == twice == {CODED: again[CODED]}
    assert len(first[CODED]) == expected
    assert again[0x0020000D] == b"1.2\0"
    with pytest.raises(DataSetError, match="send it again"):
        read(data[:-1], LITTLE)


def image(transfer_syntax: str) -> Dataset:
    data_set = sr.header(SOPClassUID=sr.CT_IMAGE, Modality="CT")
    data_set.Rows = data_set.Columns = 64
    data_set.BitsAllocated, data_set.BitsStored, data_set.HighBit = 8, 8, 7
    data_set.SamplesPerPixel, data_set.PixelRepresentation = 1, 0
    data_set.PhotometricInterpretation = "MONOCHROME2"
    pixels = b"\x55" * 4096
    data_set.PixelData = encapsulate([pixels]) if transfer_syntax == JPEG else pixels
    data_set["PixelData"].VR = "OB"
    data_set["PixelData"].is_undefined_length = transfer_syntax == JPEG
    data_set.add_new(0xFFFCFFFC, "OB", b"\0" * 64)
    return data_set


@pytest.mark.parametrize("transfer_syntax", [EXPLICIT, IMPLICIT, BIG_ENDIAN, DEFLATED, JPEG])
def test_an_image_keeps_its_header_and_loses_its_pixels(transfer_syntax: str) -> None:
    body = sr.part10(image(transfer_syntax), transfer_syntax)
    encoded = body[body.index(b"DICM") + 4 :]
    meta_length = int.from_bytes(encoded[8:12], "little") + 12
    kept = join(
        sr.CT_IMAGE, "1.2.826.0.1.1", transfer_syntax, header_only(encoded[meta_length:], transfer_syntax)
    )
    again = pydicom.dcmread(BytesIO(kept))
    assert "PixelData" not in again
    assert again.file_meta.TransferSyntaxUID == transfer_syntax
    assert (again.Rows, again.PatientID, again.StudyInstanceUID) == (64, "P1", "1.2.826.0.1.2")
    event = study_of(instance(kept))
    assert (event.kind, event.modality, event.dose) == ("image", "CT", None)


def test_a_deflate_bomb_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dosestream.dose.part10.MAX_INFLATED", 1024)
    assert inflate(deflate(b"a" * 1024)) == b"a" * 1024
    with pytest.raises(DataSetError, match="inflates to more"):
        inflate(deflate(b"a" * 1025))


def test_nesting_without_end_is_refused() -> None:
    nested = b""
    for _ in range(100):
        nested = element(0x0040A730, b"SQ", item(nested))
    with pytest.raises(DataSetError, match="nested"):
        read(nested, LITTLE)


BODIES = {
    (name, undefined): sr.part10(undefined_lengths(report()) if undefined else report(), name)
    for name in (EXPLICIT, IMPLICIT, BIG_ENDIAN)
    for undefined in (False, True)
}


@pytest.mark.parametrize("key", BODIES, ids=lambda key: f"{key[0]} {'undefined' if key[1] else 'defined'}")
def test_a_report_cut_inside_its_content_is_never_taken_for_a_whole_one(key: tuple[str, bool]) -> None:
    body = BODIES[key]
    order = "big" if key[0] == BIG_ENDIAN else "little"
    content = body.index((0x0040).to_bytes(2, order) + (0xA730).to_bytes(2, order))  # type: ignore[arg-type]
    for cut in range(content + 12, len(body), 7):
        event = study_event(instance(body[:cut]), 0, 0, Settings())
        assert isinstance(event, Rejection), f"cut at {cut} of {len(body)}"
        assert event.code in ("truncated", "unreadable")
        assert event.location


@settings(max_examples=400, deadline=None)
@given(
    key=st.sampled_from(sorted(BODIES)),
    damage=st.lists(
        st.tuples(st.floats(0, 0.999), st.binary(min_size=1, max_size=6)), min_size=1, max_size=4
    ),
)
def test_damaged_bytes_give_a_study_or_a_rejection_and_never_an_error(
    key: tuple[str, bool], damage: list[tuple[float, bytes]]
) -> None:
    body = bytearray(BODIES[key])
    for place, junk in damage:
        start = 132 + int(place * (len(body) - 132))
        body[start : start + len(junk)] = junk
    event = study_event(instance(bytes(body)), 0, 0, Settings())
    assert isinstance(event, Study | Rejection)
    if isinstance(event, Rejection):
        assert event.code in ("truncated", "unreadable", "no_study_instance_uid")
        assert event.body == bytes(body)


def test_a_meaning_in_another_language_changes_nothing() -> None:
    plain = sr.report(
        container("113811", num(sr.code("113813", "DCM", "CT Dose Length Product Total"), "1", "mGy.cm"))
    )
    other = sr.report(
        container("113811", num(sr.code("113813", "DCM", "Produit dose longueur"), "1", "mGy.cm"))
    )
    events = [study_event(instance(sr.part10(one)), 0, 0, Settings()) for one in (plain, other)]
    assert all(isinstance(one, Study) and one.dose is not None for one in events)
    assert events[0].dose == events[1].dose  # type: ignore[union-attr]
