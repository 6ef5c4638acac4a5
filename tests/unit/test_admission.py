"""Who may connect, and who may send as whom."""

import pytest

from dosestream.admission import Admission, Peer, address_of
from dosestream.settings import MllpSettings, Settings, SourceSettings

RIS = SourceSettings(name="ris", sending_application="RIS", certificate="RIS.hospital.example")
HIS = SourceSettings(name="his", sending_application="HIS", peers=("10.1.2.0/24", "fd00::/8"))
BOTH = SourceSettings(
    name="pacs", sending_application="PACS", certificate="pacs.example", peers=("10.9.0.1",), ae_title="PACS"
)
ENGINE = SourceSettings(name="engine", certificate="urn:engine:1")
OPEN = SourceSettings(name="lab", sending_application="LAB")


def peer(host: str = "192.0.2.1", *names: str, transport: str = "mllp") -> Peer:
    return Peer(f"{host}:4711", address_of(host), transport, names=frozenset(names))


CONNECT = [
    ("from everywhere where nothing is listed", (), (), "192.0.2.1", True),
    ("from everywhere where only a source has its peers", (), ("10.0.0.0/8",), "192.0.2.1", True),
    ("from a listed network", ("10.0.0.0/8",), (), "10.255.0.1", True),
    ("from a listed address", ("10.0.0.7",), (), "10.0.0.7", True),
    ("not from beside it", ("10.0.0.7",), (), "10.0.0.8", False),
    ("from a source's own peers too", ("10.0.0.7",), ("192.0.2.0/24",), "192.0.2.1", True),
    ("from a network of version 6", ("2001:db8::/32",), (), "2001:db8::5", True),
    ("not from version 6 where version 4 is listed", ("0.0.0.0/0",), (), "2001:db8::5", False),
    ("as version 4 in the clothes of version 6", ("10.0.0.0/8",), (), "::ffff:10.0.0.1", True),
    ("from a link with its scope", ("fe80::/10",), (), "fe80::1%eth0", True),
    ("not from what is no address", ("0.0.0.0/0",), (), "", False),
]


@pytest.mark.parametrize(
    ("allow", "peers", "host", "taken"), [c[1:] for c in CONNECT], ids=[c[0] for c in CONNECT]
)
def test_a_connection_is_taken(
    allow: tuple[str, ...], peers: tuple[str, ...], host: str, taken: bool
) -> None:
    settings = Settings(mllp=MllpSettings(allow=allow), source=(SourceSettings(name="s", peers=peers),))
    assert Admission(settings).admits(address_of(host)) is taken


SEND = [
    ("anybody as a source without conditions", OPEN, peer(), True),
    (
        "with the source's certificate",
        RIS,
        peer("192.0.2.1", "ris.hospital.example", transport="mllps"),
        True,
    ),
    ("not with another's", RIS, peer("192.0.2.1", "other.example", transport="mllps"), False),
    ("not without one", RIS, peer(), False),
    ("from the source's network", HIS, peer("10.1.2.9"), True),
    ("from its network of version 6", HIS, peer("fd12::1"), True),
    ("not from another", HIS, peer("10.1.3.9"), False),
    ("not from a place without address", HIS, Peer(":0", None, "mllp"), False),
    ("where both are asked, with both", BOTH, peer("10.9.0.1", "pacs.example"), True),
    ("where both are asked, not with the certificate alone", BOTH, peer("10.9.0.2", "pacs.example"), False),
    ("where both are asked, not with the address alone", BOTH, peer("10.9.0.1"), False),
    ("over DICOM the address decides", BOTH, peer("10.9.0.1", transport="dicom"), True),
    ("over DICOM not from another address", BOTH, peer("10.9.0.2", transport="dicom"), False),
]


@pytest.mark.parametrize(("source", "who", "may"), [s[1:] for s in SEND], ids=[s[0] for s in SEND])
def test_a_peer_may_send(source: SourceSettings, who: Peer, may: bool) -> None:
    assert Admission(Settings(source=(RIS, HIS, BOTH, OPEN))).may_send(source, who) is may


NAMED = [
    ("by certificate and MSH-3", ("ris.hospital.example",), "RIS", "ris"),
    ("by MSH-3 alone where the certificate's source is another", ("ris.hospital.example",), "HIS", None),
    ("by the certificate alone where the source names no MSH-3", ("urn:engine:1",), "ANYTHING", "engine"),
    ("the one that MSH-3 names first", ("urn:engine:1", "ris.hospital.example"), "RIS", "ris"),
    ("by MSH-3 alone where the certificate is nobody's", ("other.example",), "RIS", None),
]


@pytest.mark.parametrize(
    ("names", "application", "source"), [n[1:] for n in NAMED], ids=[n[0] for n in NAMED]
)
def test_a_source_is_known(names: tuple[str, ...], application: str, source: str | None) -> None:
    found = Admission(Settings(source=(ENGINE, RIS, HIS))).source_of(peer("::1", *names), application, "HOSP")
    assert (found and found.name) == source
