"""What an instance's header says: patient, study, equipment, and the requests it answers (PS3.3 C.7, C.12)."""

from dataclasses import dataclass
from typing import Any, Final

from dosestream.dose.charset import Charset
from dosestream.dose.content import CODE_VALUE, MEANING, SCHEME, items, leaf
from dosestream.dose.dataset import DataSet, tag_text
from dosestream.dose.moments import Moment, Zone, age_years, date_of, from_date_and_time, from_date_time
from dosestream.events.records import Demographics, Identifier, RequestReference

CHARACTER_SET: Final = 0x00080005
SOP_CLASS: Final = 0x00080016
SOP_INSTANCE: Final = 0x00080018
STUDY_DATE, STUDY_TIME = 0x00080020, 0x00080030
CONTENT_DATE, CONTENT_TIME = 0x00080023, 0x00080033
ACCESSION: Final = 0x00080050
ACCESSION_ISSUER: Final = 0x00080051
REFERRING_PHYSICIAN: Final = 0x00080090
TIMEZONE: Final = 0x00080201
PROCEDURE_CODE: Final = 0x00081032
PATIENT_NAME: Final = 0x00100010
PATIENT_ID: Final = 0x00100020
PATIENT_ISSUER: Final = 0x00100021
ISSUER_QUALIFIERS: Final = 0x00100024
BIRTH_DATE: Final = 0x00100030
SEX: Final = 0x00100040
AGE, SIZE, WEIGHT = 0x00101010, 0x00101020, 0x00101030
STUDY_INSTANCE: Final = 0x0020000D
REQUESTED_PROCEDURE_DESCRIPTION: Final = 0x00321060
REQUESTED_PROCEDURE_CODE: Final = 0x00321064
REQUEST_SEQUENCES: Final = (0x0040A370, 0x00400275)
LOCAL_ENTITY, UNIVERSAL_ENTITY = 0x00400031, 0x00400032
ORIGINAL_ATTRIBUTES: Final = 0x04000561
MODIFIED_AT: Final = 0x04000562

SEXES: Final = {"M": "M", "F": "F", "O": "O"}
# Field of Study to the tag it is read from, text values.
TEXTS: Final[dict[str, int]] = {
    "accession_number": ACCESSION,
    "study_description": 0x00081030,
    "institution": 0x00080080,
    "station_name": 0x00081010,
    "manufacturer": 0x00080070,
    "model": 0x00081090,
    "device_serial": 0x00181000,
}
# The same for values of the default repertoire.
CODES: Final[dict[str, int]] = {
    "study_instance_uid": STUDY_INSTANCE,
    "series_instance_uid": 0x0020000E,
    "modality": 0x00080060,
}
# Field of RequestReference to its tag.
REQUEST_TEXTS: Final[dict[str, int]] = {
    "accession_number": ACCESSION,
    "placer_order_number": 0x00402016,
    "filler_order_number": 0x00402017,
    "requested_procedure_id": 0x00401001,
    "scheduled_step_id": 0x00400009,
}


@dataclass(frozen=True, slots=True)
class Header:
    """One instance's header, to be read with its charset and zone."""

    data_set: DataSet
    charset: Charset
    zone: Zone

    def text(self, tag: int, data_set: DataSet | None = None) -> str:
        """A text value, the first where there are several; empty where absent."""
        value = (self.data_set if data_set is None else data_set).get(tag, b"")
        if not value or not isinstance(value, bytes):
            return ""
        return self.charset.text(value, tag_text(tag)).split("\\")[0].strip()

    def fields(self) -> dict[str, Any]:
        """Fields of Study that are one value of the header each."""
        values: dict[str, Any] = {name: self.text(tag) for name, tag in TEXTS.items()}
        values |= {name: leaf(self.data_set, tag).split("\\")[0].strip() for name, tag in CODES.items()}
        code = next(iter(items(self.data_set, PROCEDURE_CODE)), {})
        values |= self._procedure(code)
        values |= {
            "accession_issuer": self._issuer(self.data_set, ACCESSION_ISSUER),
            "referring_physician": self.person_name(REFERRING_PHYSICIAN),
            "patient_age_years": age_years(leaf(self.data_set, AGE)),
            "patient_size_m": self._positive(SIZE),
            "patient_weight_kg": self._positive(WEIGHT),
        }
        return values

    def person_name(self, tag: int) -> str:
        """A PN value, its alphabetic group without trailing carets."""
        value = self.data_set.get(tag, b"")
        return self.charset.person_name(value, tag_text(tag)) if isinstance(value, bytes) else ""

    def patient(self) -> tuple[Demographics, dict[str, str]]:
        """The patient, and the tag of a value that was not read from its first place."""
        paths: dict[str, str] = {}
        identifiers: tuple[Identifier, ...] = ()
        if value := self.text(PATIENT_ID):
            authority = self.text(PATIENT_ISSUER)
            if not authority:
                qualifiers = next(iter(items(self.data_set, ISSUER_QUALIFIERS)), {})
                if authority := self.text(UNIVERSAL_ENTITY, qualifiers):
                    paths["patient.authority"] = f"{tag_text(ISSUER_QUALIFIERS)}{tag_text(UNIVERSAL_ENTITY)}"
            identifiers = (Identifier(authority=authority, value=value),)
        patient = Demographics(
            identifiers=identifiers,
            name=self.person_name(PATIENT_NAME),
            birth_date=date_of(leaf(self.data_set, BIRTH_DATE)),
            sex=SEXES.get(leaf(self.data_set, SEX).upper(), ""),
        )
        return patient, paths

    def study_moment(self) -> Moment | None:
        """Study Date and Time."""
        return self._date_and_time(STUDY_DATE, STUDY_TIME)

    def study_day(self) -> Moment | None:
        """Study Date at midnight, for instances without Study Time."""
        return from_date_and_time(leaf(self.data_set, STUDY_DATE), "00", self.zone)

    def content_moment(self) -> Moment | None:
        """Content Date and Time."""
        return self._date_and_time(CONTENT_DATE, CONTENT_TIME)

    def modified(self) -> Moment | None:
        """The newest Attribute Modification DateTime of the Original Attributes Sequence (PS3.3 C.12.1.1.9)."""
        moments = (
            from_date_time(leaf(item, MODIFIED_AT), self.zone)
            for item in items(self.data_set, ORIGINAL_ATTRIBUTES)
        )
        return max(filter(None, moments), key=lambda moment: moment.at, default=None)

    def requests(self) -> tuple[RequestReference, ...]:
        """The requests answered: Referenced Request Sequence, then Request Attributes Sequence; repeats once."""
        references: dict[RequestReference, None] = {}
        for sequence in REQUEST_SEQUENCES:
            for item in items(self.data_set, sequence):
                code = next(iter(items(item, REQUESTED_PROCEDURE_CODE)), {})
                procedure = self._procedure(code)
                procedure["procedure_meaning"] = procedure["procedure_meaning"] or self.text(
                    REQUESTED_PROCEDURE_DESCRIPTION, item
                )
                reference = RequestReference(
                    study_instance_uid=leaf(item, STUDY_INSTANCE),
                    accession_issuer=self._issuer(item, ACCESSION_ISSUER),
                    **{name: self.text(tag, item) for name, tag in REQUEST_TEXTS.items()},
                    **procedure,
                )
                if reference != RequestReference():
                    references[reference] = None
        return tuple(references)

    def _procedure(self, code: DataSet) -> dict[str, str]:
        return {
            "procedure_code": self.text(CODE_VALUE, code),
            "procedure_scheme": self.text(SCHEME, code),
            "procedure_meaning": self.text(MEANING, code),
        }

    def _issuer(self, data_set: DataSet, sequence: int) -> str:
        """An HL7v2 Hierarchic Designator: the local name, else the universal id (PS3.3 table 10-17)."""
        item = next(iter(items(data_set, sequence)), {})
        return self.text(LOCAL_ENTITY, item) or self.text(UNIVERSAL_ENTITY, item)

    def _positive(self, tag: int) -> float | None:
        """A DS value; 0 is how scanners write that they do not know."""
        try:
            number = float(leaf(self.data_set, tag).split("\\")[0])
        except ValueError:
            return None
        return number if 0 < number < 1e6 else None

    def _date_and_time(self, date_tag: int, time_tag: int) -> Moment | None:
        return from_date_and_time(leaf(self.data_set, date_tag), leaf(self.data_set, time_tag), self.zone)
