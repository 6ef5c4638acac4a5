"""Every metric as one table: what `/metrics` shows, the rules ask and the dashboard draws."""

from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """Prometheus' metric types."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True)
class Metric:
    """One row of the table."""

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()


METRICS: dict[str, Metric] = {}


def _metric(kind: Kind, name: str, text: str, *labels: str) -> Metric:
    made = METRICS[name] = Metric(name, kind, text, labels)
    return made


def _counter(name: str, text: str, *labels: str) -> Metric:
    return _metric(Kind.COUNTER, name, text, *labels)


def _gauge(name: str, text: str, *labels: str) -> Metric:
    return _metric(Kind.GAUGE, name, text, *labels)


def _histogram(name: str, text: str, *labels: str) -> Metric:
    return _metric(Kind.HISTOGRAM, name, text, *labels)


# Every service.
READY = _gauge("dosestream_ready", "1 where this part of being ready holds.", "check")
SCRAPE_FAILURES = _counter("dosestream_scrape_failures_total", "Readings that failed and were left out.")
DISK_FREE = _gauge("dosestream_disk_free_bytes", "Free space where a folder lies.", "folder")
DISK_SIZE = _gauge("dosestream_disk_size_bytes", "Size of the disk where a folder lies.", "folder")

# Who takes messages: ingest, arrivals, worklist.
MESSAGES = _counter(
    "dosestream_messages_total",
    "Messages answered: HL7 by MSH-9 and acknowledgement code, DICOM by SOP class and status.",
    *("source", "type", "answer"),
)
ANSWER_SECONDS = _histogram("dosestream_answer_seconds", "From a message's receipt to its answer.")
IN_FLIGHT = _gauge("dosestream_in_flight", "Messages between receipt and answer.")
IN_FLIGHT_BYTES = _gauge("dosestream_in_flight_bytes", "Their bytes.")
CONNECTIONS = _gauge("dosestream_connections", "Connections, or associations, that are open.")
CONNECTIONS_REFUSED = _counter("dosestream_connections_refused_total", "Connections that were refused.")
EVENTS = _counter("dosestream_events_total", "Normalised events published, by topic.", "topic")
REJECTED = _counter(
    "dosestream_rejected_total", "What could not be normalised, by the rejection's code.", "code"
)
IGNORED = _counter("dosestream_ignored_total", "Well-formed messages of types that are not used.")
REPEATS = _counter("dosestream_repeats_total", "Messages heard before, answered as the first time.")
NOT_STORED = _counter(
    "dosestream_not_stored_total", "Messages that Kafka did not take: their senders keep them."
)
REUSED = _counter("dosestream_control_ids_reused_total", "Control ids that named another message before.")
STOPPED = _gauge(
    "dosestream_source_stopped", "1 where what a source sends of a type is all refused.", "source", "type"
)
FINDINGS = _counter(
    "dosestream_findings_total", "Rules that messages broke without being refused.", "check", "source", "rule"
)
CHECKED = _counter("dosestream_conformance_checked_total", "Messages held against the whole standard.")
AUDIT_LOST = _counter("dosestream_audit_lost_total", "Audit records that Kafka did not take.")
CERTIFICATE = _gauge(
    "dosestream_certificate_expiry_timestamp_seconds",
    "When the first certificate of a file of ours ends.",
    *("listener", "file"),
)
WORKERS = _gauge("dosestream_workers", "Processes that share the port, and answer.")

# The reconciler's own work.
APPLIED = _counter("dosestream_events_applied_total", "Events in the dose database, by this reconciler.")
TRANSACTIONS = _counter("dosestream_transactions_total", "Transactions of this reconciler.")
RESTARTS = _counter("dosestream_transaction_restarts_total", "Transactions that began again for a lock.")
PARTITIONS_STOPPED = _counter(
    "dosestream_partition_stops_total", "Times a partition met a record whose schema is not known."
)
ROW_SECONDS = _histogram("dosestream_row_seconds", "From a message's receipt to its committed row.")

# The dose database and Kafka as every reconciler sees them: the same number from each, so take the max.
READ_AGE = _gauge("dosestream_reading_age_seconds", "How old the numbers of the database and of Kafka are.")
READ_SECONDS = _gauge("dosestream_reading_seconds", "What reading them took.")
LAG = _gauge(
    "dosestream_lag_records", "Records that the dose database has not applied.", "topic", "partition"
)
LEDGER = _gauge("dosestream_ledger_offset", "The next offset to apply.", "topic", "partition")
TOPIC_RECORDS = _gauge("dosestream_topic_records", "Offsets between the earliest and the next.", "topic")
CLOCK_AGE = _gauge("dosestream_clock_age_seconds", "Since the newest tick that was applied.")
STUDIES = _gauge("dosestream_studies", "Studies that are not excluded.", "link_state", "phase")
EXCLUDED = _gauge("dosestream_studies_excluded", "Studies that were excluded.")
ORDERS = _gauge(
    "dosestream_orders", "Orders: those that expect a report, and those for which it is overdue.", "state"
)
ANOMALIES = _gauge("dosestream_anomalies", "Anomalies.", "kind")
HIGH_DOSE = _gauge("dosestream_high_dose_alerts", "Alerts of high dose that stand.", "kind")
OUTBOX = _gauge("dosestream_outbox_records", "Changed rows that are not on their topic yet.", "topic")
DIRTY = _gauge("dosestream_groups_waiting", "Groups that wait to be derived again.")
QUARANTINED = _gauge("dosestream_quarantined_records", "Records that are no Avro of their schema.")
SILENT = _gauge("dosestream_source_silent_seconds", "Since a source was last heard.", "source")
SILENCE = _gauge(
    "dosestream_source_silence_limit_seconds",
    "How long a source may be silent (clock.idle_minutes).",
    "source",
)
DATABASE = _gauge("dosestream_database_bytes", "Size of the dose database.")

# Cleanup.
CLEANED = _counter("dosestream_cleanup_removed_total", "What cleanup removed, over all its runs.", "kind")
CLEANUP_RUNS = _counter("dosestream_cleanup_runs_total", "Runs of cleanup.", "outcome")
CLEANUP_DONE = _gauge("dosestream_cleanup_last_done_timestamp_seconds", "When a run was last done.")
