"""Which configured source a message or an association belongs to."""

from dosestream.settings.sections import Settings, SourceSettings


def source_for_hl7(settings: Settings, application: str, facility: str) -> SourceSettings:
    """The configured source of a message, else one named MSH-3|MSH-4 with the site's defaults."""
    for source in settings.source:
        if (source.sending_application or source.sending_facility) and (
            source.sending_application in ("", application) and source.sending_facility in ("", facility)
        ):
            return source
    return SourceSettings(name=f"{application}|{facility}")


def source_for_ae(settings: Settings, calling: str) -> SourceSettings:
    """The configured source of a calling AE title, else one named after it with the site's defaults."""
    for source in settings.source:
        if source.ae_title and source.ae_title == calling:
            return source
    return SourceSettings(name=calling, ae_title=calling)
