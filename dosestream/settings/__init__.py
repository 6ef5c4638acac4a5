"""One TOML file a site owns (`dosestream.toml`) over these defaults, and the environment over both.

Every setting has a default that works on one machine. `load` explains a mistake with its line.
"""

from dosestream.settings.document import SettingsError, parse
from dosestream.settings.file import ENVIRONMENT, load
from dosestream.settings.mapping import CodeMapSettings, MappingSettings, RuleSettings
from dosestream.settings.metrics import MetricsSettings
from dosestream.settings.sections import (
    MIB,
    AuthoritySettings,
    ClockSettings,
    ConformanceSettings,
    DicomSettings,
    DicomTlsSettings,
    KafkaSettings,
    LimitSettings,
    MatchingSettings,
    MllpSettings,
    OrthancSettings,
    PacsSettings,
    PostgresSettings,
    RepeatsSettings,
    RetentionSettings,
    Settings,
    SiteSettings,
    SourceSettings,
    TlsSettings,
    TopicSettings,
    WorklistSettings,
)
from dosestream.settings.source import source_for_ae, source_for_hl7

__all__ = [
    "ENVIRONMENT",
    "MIB",
    "AuthoritySettings",
    "ClockSettings",
    "CodeMapSettings",
    "ConformanceSettings",
    "DicomSettings",
    "DicomTlsSettings",
    "KafkaSettings",
    "LimitSettings",
    "MappingSettings",
    "MatchingSettings",
    "MetricsSettings",
    "MllpSettings",
    "OrthancSettings",
    "PacsSettings",
    "PostgresSettings",
    "RepeatsSettings",
    "RetentionSettings",
    "RuleSettings",
    "Settings",
    "SettingsError",
    "SiteSettings",
    "SourceSettings",
    "TlsSettings",
    "TopicSettings",
    "WorklistSettings",
    "load",
    "parse",
    "source_for_ae",
    "source_for_hl7",
]
