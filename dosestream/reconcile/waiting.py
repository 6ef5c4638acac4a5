"""Why a study has no order yet, in words for the person on duty."""

from dosestream.reconcile.decisions import StudyDecisions
from dosestream.reconcile.links import StudyKeys

UNNAMED = "it names no accession or order number"
UNKNOWN = "no order has the accession or order numbers it names"
UNLINKED = "a decision took its order away"
NO_PATIENT = "it names no patient"
NO_TIME = "it says no time"
NO_MODALITY = "it says no modality"
NONE_NEAR = "its patient has no free order of this modality within the window"


def why_waiting(study: StudyKeys, decisions: StudyDecisions) -> str:
    """Why neither a strong key nor the window finds an order for a study that waits."""
    named = (
        study.accession_number or study.request_accessions or study.request_placers or study.request_fillers
    )
    strong = UNLINKED if decisions.barred else UNKNOWN if named else UNNAMED
    if study.patient is None:
        weak = NO_PATIENT
    elif study.study_at is None:
        weak = NO_TIME
    else:
        weak = NO_MODALITY if study.modality_family is None else NONE_NEAR
    return f"{strong}; {weak}"
