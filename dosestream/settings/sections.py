"""The sections of `dosestream.toml` as frozen values. Every default works on one machine."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from dosestream.hl7.profile import ProfileSettings
from dosestream.hl7.zsegments import ZContract
from dosestream.knowledge.reference_levels import ReferenceLevelSettings
from dosestream.knowledge.thresholds import AlertSettings
from dosestream.settings.mapping import LOADED, MappingSettings
from dosestream.settings.metrics import MetricsSettings

MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class SiteSettings:
    """The site as a whole."""

    name: str = "site"
    # Assigning authority of patient identifiers that name none.
    authority: str = "HOSP"
    # Zone of times without offset, IANA name.
    timezone: str = "UTC"
    # Key of the patient hash in Kafka record keys; set it to a secret of the site.
    patient_key_secret: str = "dosestream"


@dataclass(frozen=True, slots=True)
class TopicSettings:
    """What a site wants of one topic, over the table of `dosestream/kafka/topics.py`."""

    name: str = ""
    # 0: as the table says.
    partitions: int = 0
    # 0 for ever, -1 as the table says.
    retention_days: int = -1
    # compression.type; empty: that of all topics.
    compression: str = ""


@dataclass(frozen=True, slots=True)
class KafkaSettings:
    """The brokers."""

    bootstrap: str = "127.0.0.1:9092"
    # Copies of each topic, and how many of them must have a record before it counts as stored; 0: all but one.
    replication: int = 1
    min_insync_replicas: int = 0
    # compression.type of topics; empty: as it was produced.
    compression: str = ""
    topic: tuple[TopicSettings, ...] = ()
    # How clients connect: PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL.
    security_protocol: str = "PLAINTEXT"
    sasl_mechanism: str = "SCRAM-SHA-512"
    user: str = ""
    # Files lie beside the configuration file where their paths are relative. The password is one line; the
    # authorities that signed the brokers' certificates (empty: the system's), our certificate and its key are PEM.
    password_file: str = ""
    ca_file: str = ""
    certificate: str = ""
    key: str = ""
    # A Confluent-compatible registry's URL; a file with `user:password` of it, and one with the authorities that
    # signed its certificate (PEM; empty: those that clients know).
    schema_registry: str = ""
    schema_registry_auth_file: str = ""
    schema_registry_ca_file: str = ""
    # Largest message a sender may send; a record may be 1 MiB larger, for the envelope.
    max_message_bytes: int = 16 * MIB
    # How long one produce may take before the sender is told to try again.
    delivery_timeout_ms: int = 4_500

    @property
    def max_record_bytes(self) -> int:
        return self.max_message_bytes + MIB

    @property
    def in_sync(self) -> int:
        """min.insync.replicas of every topic."""
        return self.min_insync_replicas or max(1, self.replication - 1)


@dataclass(frozen=True, slots=True)
class PostgresSettings:
    """The dose database."""

    url: str = "postgresql://127.0.0.1:5432/dosestream"
    # A file with the password of the user in `url`, beside the configuration file where its path is relative.
    password_file: str = ""


@dataclass(frozen=True, slots=True)
class TlsSettings:
    """The HL7 listener over TLS 1.2 or newer, beside the plain one; open where a certificate is named.

    Files are PEM, beside the configuration file where their paths are relative.
    """

    # Empty: the plain listener's.
    host: str = ""
    port: int = 2576
    # The certificate, followed by those between it and its authority; and its key, without password.
    certificate: str = ""
    key: str = ""
    # The authorities whose certificates clients may show.
    client_ca: str = ""
    # Whether a client has to show one.
    require_client_certificate: bool = False

    @property
    def peer_must_show(self) -> bool:
        return self.require_client_certificate


@dataclass(frozen=True, slots=True)
class MllpSettings:
    """The HL7 listener."""

    host: str = "127.0.0.1"
    port: int = 2575
    max_connections: int = 1024
    idle_timeout_s: int = 4 * 3600
    frame_timeout_s: int = 60
    # AE: refuse what cannot be mapped. AA: accept it and keep it in the rejected topic.
    on_reject: str = "AE"
    # Messages between receipt and answer, per connection and in all.
    in_flight_per_connection: int = 64
    in_flight: int = 8192
    # Their bytes in all, in MiB; and how many messages of the largest size may arrive at a time.
    in_flight_mib: int = 128
    # MLLP release: 1, or 2, which answers each frame with a commit block before the acknowledgement.
    release: int = 1
    # Processes that share the port.
    workers: int = 1
    # Connections that one of them has before the next is given any; 0: as the system spreads them.
    gather: int = 32
    # Networks from which connections are taken, beside those of the sources; empty: from everywhere.
    allow: tuple[str, ...] = ()
    tls: TlsSettings = field(default_factory=TlsSettings)


@dataclass(frozen=True, slots=True)
class RepeatsSettings:
    """What was heard in the last 24 hours, so that a repeat gets the same answer and no second event."""

    # Where it is kept, on a local disk; empty: `$XDG_STATE_HOME/dosestream`, else `~/.local/state/dosestream`.
    folder: str = ""
    # Largest size of the file of one listener; a message takes about 160 bytes.
    size_mib: int = 256


@dataclass(frozen=True, slots=True)
class DicomTlsSettings:
    """The DICOM listener over TLS 1.2 or newer (PS3.15 annex B), beside the plain one; open where a certificate
    is named.

    Files are PEM, beside the configuration file where their paths are relative.
    """

    # Empty: the plain listener's.
    host: str = ""
    port: int = 2762
    # The certificate, followed by those between it and its authority; and its key, without password.
    certificate: str = ""
    key: str = ""
    # The authorities whose certificates peers must show; empty: none is asked for.
    client_ca: str = ""

    @property
    def peer_must_show(self) -> bool:
        return bool(self.client_ca)


@dataclass(frozen=True, slots=True)
class OrthancSettings:
    """An Orthanc whose change feed is read."""

    # Such as http://127.0.0.1:8042; empty: none.
    url: str = ""
    user: str = ""
    password: str = ""
    # The source its instances are filed under: the AE title of a `[[source]]`, or any name.
    ae_title: str = "ORTHANC"
    poll_s: float = 5.0


@dataclass(frozen=True, slots=True)
class DicomSettings:
    """The DICOM listener."""

    host: str = "127.0.0.1"
    port: int = 11112
    ae_title: str = "DOSESTREAM"
    max_associations: int = 64
    # Whether only calling AE titles of a `[[source]]` are accepted, and only our own as the called one.
    known_sources_only: bool = False
    require_called_ae_title: bool = False
    # Networks from which connections are taken, beside those of the sources; empty: from everywhere.
    allow: tuple[str, ...] = ()
    tls: DicomTlsSettings = field(default_factory=DicomTlsSettings)
    # A folder whose files are taken in.
    watch: str = ""
    # The AE title that its files come from.
    watch_ae_title: str = "FOLDER"
    orthanc: OrthancSettings = field(default_factory=OrthancSettings)


@dataclass(frozen=True, slots=True)
class WorklistSettings:
    """The modality worklist (DICOM C-FIND)."""

    host: str = "127.0.0.1"
    port: int = 11113
    ae_title: str = "DOSESTREAM_WL"
    max_associations: int = 64
    # Calling AE titles that are let in; empty: all.
    allowed_ae_titles: tuple[str, ...] = ()
    # Steps in one answer; of more the earliest are sent, and the answer ends with a warning.
    max_results: int = 500


@dataclass(frozen=True, slots=True)
class PacsSettings:
    """The archive that `dosestream fetch` gets missing dose reports from (C-FIND, C-MOVE); empty: none."""

    host: str = ""
    port: int = 104
    ae_title: str = ""
    # Our own title, which the archive must know.
    calling_ae_title: str = "DOSESTREAM"
    # The title by which the archive knows the DICOM listener; empty: dicom.ae_title.
    destination: str = ""
    # For each answer.
    timeout_s: float = 60.0


@dataclass(frozen=True, slots=True)
class SourceSettings:
    """One sender: matched by MSH-3|MSH-4 (HL7) or calling AE title (DICOM)."""

    name: str = ""
    sending_application: str = ""
    sending_facility: str = ""
    ae_title: str = ""
    authority: str = ""
    timezone: str = ""
    charset: str = ""
    on_reject: str = ""
    processing_ids: tuple[str, ...] = ("P", "T", "D")
    # Networks from which it sends, HL7 and DICOM; empty: from everywhere.
    peers: tuple[str, ...] = ()
    # A name (CN, or DNS or URI of the subject's alternatives) in the certificate it shows over TLS.
    certificate: str = ""
    # HOST:PORT where it listens for the results of storage commitment; empty: on the association it asked on.
    commitment: str = ""


@dataclass(frozen=True, slots=True)
class AuthoritySettings:
    """One assigning authority of patient identifiers; a change asks for a replay, since facts are filed by it."""

    name: str = ""
    # Other names of it, such as its OID.
    aliases: tuple[str, ...] = ()
    # ignore: 00123 is 123. keep: they are two patients.
    leading_zeros: str = "keep"
    # ignore: ab1 is AB1. keep: they are two patients.
    case: str = "keep"


@dataclass(frozen=True, slots=True)
class MatchingSettings:
    """Windows and tolerances of the reconciler, in hours, days or minutes as the name says."""

    window_hours: float = 24.0
    grace_hours: float = 24.0
    future_tolerance_hours: float = 24.0
    accession_days: int = 365
    duplicate_minutes: int = 10
    # Orders have a row from this status on (such as STARTED: only what is in progress); empty keeps all.
    keep_from_status: str = ""
    # Whether order messages may update patients.
    orders_update_patients: bool = True
    # What an ADT message means that names a patient who was merged into another: `follow`, the survivor;
    # `own`, that the merge is over and the identifier its own patient again.
    merged_away: str = "follow"
    # Identifiers that stand for nobody: they never connect anything.
    stop_list: tuple[str, ...] = ("0", "UNKNOWN", "TEST", "NONE", "N/A", "ANONYMOUS", "QA", "PHANTOM")
    # Facts in one group beyond which it is an anomaly.
    group_cap: int = 5000


@dataclass(frozen=True, slots=True)
class ClockSettings:
    """Ticks of `radiology.clock.v1`, and what is usual of sources: their watermarks are shown, and decide nothing."""

    interval_s: float = 60.0
    # How much later than its time a message usually comes, and how long a source may be silent before it is idle.
    lateness_minutes: float = 60.0
    idle_minutes: float = 240.0


@dataclass(frozen=True, slots=True)
class MessageProfileSettings:
    """An HL7 message profile (XML) that sampled messages of a source are held against."""

    # Beside the configuration file, where the path is relative.
    file: str = ""
    # Empty: every source.
    source: str = ""
    # The file's content.
    text: str = field(default="", metadata=LOADED)


@dataclass(frozen=True, slots=True)
class ConformanceSettings:
    """What messages are held against without refusing them."""

    # Whether what IHE Radiology asks of every sender is counted where it is missing.
    ihe_minimum: bool = True
    # How many messages of a source are held against the whole standard: one in so many; empty for none.
    sample: str = "1/1000"
    # No more of them in a minute than so many, of all sources together.
    per_minute: int = 30
    # How long one may take.
    timeout_s: float = 10.0
    message_profile: tuple[MessageProfileSettings, ...] = ()


@dataclass(frozen=True, slots=True)
class ZSegmentSettings:
    """The site's own contracts of Z segments, beside those of `schemas/z`."""

    # A folder of TOML files, one contract each.
    folder: str = ""
    contract: tuple[ZContract, ...] = ()


@dataclass(frozen=True, slots=True)
class LimitSettings:
    """When messages that all fail are no longer stored as rejected, per source and message type."""

    # So many refused in a row; 0 for no limit.
    rejected_in_a_row: int = 100
    # This share refused among the last so many.
    rejected_share: float = 0.95
    rejected_among: int = 1000


@dataclass(frozen=True, slots=True)
class RetentionSettings:
    """How long what is kept for its facts stays, in days; 0 for ever. Rows that are derived always stay."""

    # Facts of a group, after the newest of its study times, schedules and receipts: they go to the snapshot topic.
    facts_days: int = 730
    # The same of groups in which something is open (waiting, ambiguous, in conflict, provisional, overdue).
    unsettled_days: int = 0
    # Rows of the message index whose facts are gone, after receipt.
    message_index_days: int = 730
    # Texts of reports, after they were reported: of what goes only a digest stays.
    report_text_days: int = 0
    # Records that could not be read.
    quarantine_days: int = 365
    # The topics of rejected messages and of the audit trail, after they were written.
    rejected_days: int = 1095
    audit_days: int = 1095
    # When the service cleans up, by the site's clock.
    hour: int = 3


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything, as frozen values."""

    site: SiteSettings = field(default_factory=SiteSettings)
    kafka: KafkaSettings = field(default_factory=KafkaSettings)
    postgres: PostgresSettings = field(default_factory=PostgresSettings)
    mllp: MllpSettings = field(default_factory=MllpSettings)
    dicom: DicomSettings = field(default_factory=DicomSettings)
    worklist: WorklistSettings = field(default_factory=WorklistSettings)
    pacs: PacsSettings = field(default_factory=PacsSettings)
    repeats: RepeatsSettings = field(default_factory=RepeatsSettings)
    source: tuple[SourceSettings, ...] = ()
    mapping: MappingSettings = field(default_factory=MappingSettings)
    matching: MatchingSettings = field(default_factory=MatchingSettings)
    clock: ClockSettings = field(default_factory=ClockSettings)
    # Rules for the messages of a source and of some types, checked before the answer.
    profile: tuple[ProfileSettings, ...] = ()
    conformance: ConformanceSettings = field(default_factory=ConformanceSettings)
    z_segments: ZSegmentSettings = field(default_factory=ZSegmentSettings)
    limits: LimitSettings = field(default_factory=LimitSettings)
    # High dose, and diagnostic reference levels.
    alert: AlertSettings = field(default_factory=AlertSettings)
    reference_level: tuple[ReferenceLevelSettings, ...] = ()
    retention: RetentionSettings = field(default_factory=RetentionSettings)
    metrics: MetricsSettings = field(default_factory=MetricsSettings)
    # "ORC-1_ORC-5" to status, over the default table of dosestream/reconcile/status.py.
    order_status: Mapping[str, str] = field(default_factory=dict)
    # Status to the statuses that may follow it, blanks between, over the default table there.
    order_transitions: Mapping[str, str] = field(default_factory=dict)
    # Alias authority to the one it stands for, such as an OID to its namespace id.
    authority_alias: Mapping[str, str] = field(default_factory=dict)
    # Authorities whose identifiers are written in several ways.
    authority: tuple[AuthoritySettings, ...] = ()
    # Institution Name (0008,0080) of a report without issuer to the authority of its patients.
    institution_authority: Mapping[str, str] = field(default_factory=dict)
