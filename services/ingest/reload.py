"""A changed configuration over the running one: what may change, and what waits for the next start. Pure."""

from dataclasses import replace
from typing import Final

from dosestream.settings import Settings

# Sections whose connections, sockets and files are open.
FIXED: Final = ("kafka", "repeats")
FIXED_OF_TLS: Final = ("host", "port")
FIXED_OF_MLLP: Final = ("host", "port", "workers", "in_flight", "in_flight_mib")


def reloaded(running: Settings, wanted: Settings) -> tuple[Settings, list[str]]:
    """The settings that hold from now on, and the names of those that were changed and cannot be now."""
    sections = [name for name in FIXED if getattr(running, name) != getattr(wanted, name)]
    keys = [key for key in FIXED_OF_MLLP if getattr(running.mllp, key) != getattr(wanted.mllp, key)]
    settings = replace(
        wanted,
        **{name: getattr(running, name) for name in FIXED},
        mllp=replace(wanted.mllp, **{key: getattr(running.mllp, key) for key in FIXED_OF_MLLP}),
    )
    names = sections + [f"mllp.{key}" for key in keys]
    tls, wanted_tls = running.mllp.tls, wanted.mllp.tls
    if bool(tls.certificate) != bool(wanted_tls.certificate):
        # Opened or closed with the next start.
        kept, names = tls, [*names, "mllp.tls"]
    else:
        kept = replace(wanted_tls, **{key: getattr(tls, key) for key in FIXED_OF_TLS})
        names += [f"mllp.tls.{key}" for key in FIXED_OF_TLS if getattr(tls, key) != getattr(wanted_tls, key)]
    return replace(settings, mllp=replace(settings.mllp, tls=kept)), names
