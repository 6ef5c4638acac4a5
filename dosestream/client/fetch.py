"""Dose reports fetched from an archive (PS3.4 annex C): C-FIND of studies and their SR series, C-MOVE of these."""

from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final

from pydicom import Dataset
from pydicom.config import disable_value_validation
from pynetdicom import AE, _config
from pynetdicom.sop_class import (  # type: ignore[attr-defined, unused-ignore]
    StudyRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelMove,
)

from dosestream.settings import PacsSettings

# pynetdicom's own log handlers spell out identifiers.
_config.LOG_HANDLER_LEVEL = "none"

SR: Final = "SR"
SUCCESS: Final = 0x0000
PENDING: Final = (0xFF00, 0xFF01)
# PS3.4 table C.4-2: what a person does about it.
MEANING: Final = {
    0xA701: "it is out of resources for the answer",
    0xA702: "its connection to the destination failed: does it know our listener's address?",
    0xA801: "it does not know the destination: name our listener's AE title in the archive",
    0xA900: "it does not understand the request",
    0xB000: "some instances were not moved",
}


class FetchError(Exception):
    """The archive did not do it: the text says what and what to do."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A study by its UID, else by its accession number."""

    study_instance_uid: str = ""
    accession_number: str = ""

    def __str__(self) -> str:
        return self.study_instance_uid or f"accession {self.accession_number}"


@dataclass(frozen=True, slots=True)
class Fetched:
    """What came of one study; counts are of series and instances.

    Attributes:
        studies: how many the archive has of it.
        series: SR series found in them.
        moved: instances the archive sent to the listener.
        failed: instances it could not send, or that the listener refused.
        problem: why it went no further; empty where all went well.
    """

    wanted: Wanted
    studies: int = 0
    series: int = 0
    moved: int = 0
    failed: int = 0
    problem: str = ""

    @property
    def good(self) -> bool:
        """Whether reports were found and all of them were sent."""
        return self.moved > 0 and not self.failed and not self.problem


class Archive:
    """One association with the archive. Use as a context manager.

    Args:
        pacs: address and titles.
        destination: AE title of our listener as the archive knows it.

    Raises:
        FetchError: no association.
    """

    def __init__(self, pacs: PacsSettings, destination: str) -> None:
        self._destination = destination
        ae: Any = AE(ae_title=pacs.calling_ae_title)
        ae.acse_timeout = ae.dimse_timeout = ae.connection_timeout = pacs.timeout_s
        ae.network_timeout = None
        ae.add_requested_context(StudyRootQueryRetrieveInformationModelFind)
        ae.add_requested_context(StudyRootQueryRetrieveInformationModelMove)
        where = f"{pacs.ae_title}@{pacs.host}:{pacs.port}"
        self._association = ae.associate(pacs.host, pacs.port, ae_title=pacs.ae_title)
        if not self._association.is_established:
            refused = self._association.is_rejected
            raise FetchError(
                f"{where} refused the association: name {pacs.calling_ae_title} in the archive"
                if refused
                else f"{where} did not answer: check its address and that it runs"
            )

    def __enter__(self) -> "Archive":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._association.is_established:
            self._association.release()

    def fetch(self, wanted: Wanted) -> Fetched:
        """Have the SR series of a study sent to the listener; never raises, what went wrong is told."""
        studies = series = moved = failed = 0
        problem = ""
        try:
            # Illegal values are the archive's; a warning would quote them.
            with disable_value_validation():
                uids = self._studies(wanted)
                studies = len(uids)
                for study in uids:
                    for one in self._series(study):
                        series += 1
                        sent, lost = self._move(study, one)
                        moved, failed = moved + sent, failed + lost
        except FetchError as error:
            problem = str(error)
        if not problem and not studies:
            problem = "the archive has no such study"
        elif not problem and not series:
            problem = "the archive has no structured report of it"
        return Fetched(wanted, studies, series, moved, failed, problem)

    def _studies(self, wanted: Wanted) -> list[str]:
        keys = Dataset()
        keys.QueryRetrieveLevel = "STUDY"
        keys.StudyInstanceUID = wanted.study_instance_uid
        keys.AccessionNumber = "" if wanted.study_instance_uid else wanted.accession_number
        return [str(found.StudyInstanceUID) for found in self._find(keys) if "StudyInstanceUID" in found]

    def _series(self, study: str) -> list[str]:
        keys = Dataset()
        keys.QueryRetrieveLevel = "SERIES"
        keys.StudyInstanceUID, keys.SeriesInstanceUID, keys.Modality = study, "", SR
        # Not every archive matches the modality.
        return [str(f.SeriesInstanceUID) for f in self._find(keys) if f.get("Modality", SR) == SR]

    def _find(self, keys: Dataset) -> list[Dataset]:
        found = []
        for status, identifier in self._answers(
            "send_c_find", keys, StudyRootQueryRetrieveInformationModelFind
        ):
            code = int(status.Status)
            if code in PENDING and identifier is not None:
                found.append(identifier)
            elif code != SUCCESS:
                raise FetchError(_refused("the query", code))
        return found

    def _move(self, study: str, series: str) -> tuple[int, int]:
        keys = Dataset()
        keys.QueryRetrieveLevel = "SERIES"
        keys.StudyInstanceUID, keys.SeriesInstanceUID = study, series
        last = Dataset()
        model = StudyRootQueryRetrieveInformationModelMove
        for answer, _ in self._answers("send_c_move", keys, model, self._destination):
            last = answer
        moved = int(last.get("NumberOfCompletedSuboperations", 0) or 0)
        moved += int(last.get("NumberOfWarningSuboperations", 0) or 0)
        failed = int(last.get("NumberOfFailedSuboperations", 0) or 0)
        if int(last.Status) != SUCCESS and not failed:
            raise FetchError(_refused("the move", int(last.Status)))
        return moved, failed

    def _answers(self, send: str, keys: Dataset, model: str, *more: str) -> Iterator[tuple[Dataset, Any]]:
        """Answers until the last; one without status means that none came. Raises FetchError."""
        try:
            for status, identifier in getattr(self._association, send)(keys, *more, model):
                if "Status" not in status:
                    raise FetchError("the archive ended the association, or did not answer in time")
                yield status, identifier
        except (RuntimeError, ValueError) as error:
            raise FetchError(f"the archive cannot be asked: {error}") from error


def _refused(what: str, code: int) -> str:
    return f"the archive refused {what} (0x{code:04X}): {MEANING.get(code, 'see its log')}"
