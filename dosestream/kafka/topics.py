"""The topics: partitions, retention, compaction and sizes, as one table."""

from dataclasses import dataclass
from enum import StrEnum

DAY_MS = 86_400_000
FOR_EVER = -1


class Topic(StrEnum):
    """Names that subscribers rely on."""

    HL7_RAW = "radiology.hl7.raw.v1"
    DICOM_RAW = "radiology.dicom.raw.v1"
    PATIENT = "radiology.patient.v1"
    ORDER = "radiology.order.v1"
    APPOINTMENT = "radiology.appointment.v1"
    REPORT = "radiology.report.v1"
    STUDY = "radiology.study.v1"
    DECISION = "radiology.decision.v1"
    CLOCK = "radiology.clock.v1"
    SNAPSHOT = "radiology.snapshot.v1"
    DOSE = "radiology.dose.v1"
    ALERT = "radiology.alert.v1"
    REJECTED = "radiology.hl7.rejected.v1"
    AUDIT = "radiology.audit.v1"
    SCHEMAS = "radiology.schemas.v1"


@dataclass(frozen=True, slots=True)
class TopicSpec:
    """One row of the table.

    Attributes:
        partitions: how many, under `up`.
        site_partitions: how many at a site.
        retention_ms: -1 keeps for ever.
        compacted: only the newest record of a key is kept.
        tombstone_ms: how long a tombstone stays readable, for compacted topics.
        schema: the schema of its values, None where the value is not one of ours.
    """

    name: Topic
    partitions: int
    site_partitions: int
    retention_ms: int
    schema: str | None
    compacted: bool = False
    tombstone_ms: int | None = None

    def config(self, max_record_bytes: int) -> dict[str, str]:
        """The broker's topic configuration."""
        config = {
            "cleanup.policy": "compact" if self.compacted else "delete",
            "retention.ms": str(self.retention_ms),
            "max.message.bytes": str(max_record_bytes),
        }
        if self.tombstone_ms is not None:
            config["delete.retention.ms"] = str(self.tombstone_ms)
        return config


def _keyed(name: Topic, schema: str | None, **more: int | bool) -> TopicSpec:
    return TopicSpec(name, 4, 12, FOR_EVER, schema, **more)  # type: ignore[arg-type]


TOPICS: tuple[TopicSpec, ...] = (
    _keyed(Topic.HL7_RAW, "raw"),
    _keyed(Topic.DICOM_RAW, "raw"),
    _keyed(Topic.PATIENT, "patient"),
    _keyed(Topic.ORDER, "order"),
    _keyed(Topic.APPOINTMENT, "appointment"),
    _keyed(Topic.REPORT, "report"),
    _keyed(Topic.STUDY, "study"),
    _keyed(Topic.DECISION, "decision"),
    TopicSpec(Topic.CLOCK, 1, 1, 7 * DAY_MS, "clock"),
    _keyed(Topic.SNAPSHOT, "snapshot", compacted=True),
    _keyed(Topic.DOSE, "dose", compacted=True, tombstone_ms=30 * DAY_MS),
    _keyed(Topic.ALERT, "alert", compacted=True, tombstone_ms=30 * DAY_MS),
    TopicSpec(Topic.REJECTED, 1, 3, 3 * 365 * DAY_MS, "rejection"),
    TopicSpec(Topic.AUDIT, 1, 3, 3 * 365 * DAY_MS, "audit"),
    TopicSpec(Topic.SCHEMAS, 1, 1, FOR_EVER, None, compacted=True),
)

# What the reconciler reads: everything it derives from.
FACTS: tuple[Topic, ...] = (
    Topic.PATIENT,
    Topic.ORDER,
    Topic.APPOINTMENT,
    Topic.REPORT,
    Topic.STUDY,
    Topic.DECISION,
    Topic.CLOCK,
)
