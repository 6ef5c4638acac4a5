"""What may be set so and is hardly meant so: a service that writes record keys says it when it starts."""

import logging

from dosestream.settings.sections import Settings, SiteSettings

PUBLIC_KEY = (
    "site.patient_key_secret is the one of the source code: anybody can tell from a record key whose record it is, and "
    "the keys are others than those of services that have a secret. Set it, or DOSESTREAM_PATIENT_KEY_SECRET_FILE, the "
    "same for all services"
)


def doubts(settings: Settings) -> list[str]:
    """A sentence each."""
    return [PUBLIC_KEY] if settings.site.patient_key_secret == SiteSettings().patient_key_secret else []


def tell(settings: Settings, log: logging.Logger) -> None:
    """A warning for each."""
    for doubt in doubts(settings):
        log.warning("%s", doubt)
