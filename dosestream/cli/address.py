"""HOST:PORT, AE@HOST:PORT and AUTHORITY:ID as typed on the command line."""

import typer


def host_port(text: str) -> tuple[str, int]:
    """`HOST:PORT` taken apart; IPv6 hosts in brackets.

    Raises:
        typer.BadParameter: it is nothing of the kind.
    """
    host, _, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise typer.BadParameter(f"{text!r} is no HOST:PORT, such as 127.0.0.1:2575")
    return host, int(port)


def ae_host_port(text: str) -> tuple[str, str, int]:
    """`AE@HOST:PORT` taken apart; an AE title has 1 to 16 characters (DICOM PS3.5, VR AE).

    Raises:
        typer.BadParameter: it is nothing of the kind.
    """
    ae_title, at, rest = text.partition("@")
    if not at or not 0 < len(ae_title.strip()) <= 16:
        raise typer.BadParameter(f"{text!r} is no AE@HOST:PORT, such as DOSESTREAM@127.0.0.1:11112")
    return ae_title, *host_port(rest)


def patient_id(text: str) -> tuple[str, str]:
    """`AUTHORITY:ID` taken apart; an identifier may hold colons, an authority does not.

    Raises:
        typer.BadParameter: it is nothing of the kind.
    """
    authority, _, value = text.partition(":")
    if not authority.strip() or not value.strip():
        raise typer.BadParameter(f"{text!r} is no AUTHORITY:ID, such as HOSP:4711")
    return authority.strip(), value.strip()
