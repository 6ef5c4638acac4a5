"""Who may connect, and who may send as whom: networks and certificate names against the configuration. Pure."""

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network

from dosestream.hl7.acceptance import Refusal
from dosestream.settings import Settings, SourceSettings

Address = IPv4Address | IPv6Address

# The code of what a peer hears that may not send as the source it names.
PEER_NOT_ALLOWED = "peer_not_allowed"


@dataclass(frozen=True, slots=True)
class Peer:
    """The other side of a connection.

    Attributes:
        name: host:port.
        address: None where it is no IP address.
        transport: mllp, mllps or dicom.
        subject: of its certificate, RFC 4514; empty where it showed none.
        names: what its certificate may be called in the configuration, in lower case.
    """

    name: str
    address: Address | None
    transport: str
    subject: str = ""
    names: frozenset[str] = frozenset()


def address_of(host: str) -> Address | None:
    """The IP address; one of version 4 in the clothes of version 6 as what it is; None where it is none."""
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


class Networks:
    """A list of networks."""

    def __init__(self, networks: tuple[str, ...]) -> None:
        self._networks = tuple(ip_network(one, strict=False) for one in networks)

    def hold(self, address: Address | None) -> bool:
        """Whether the address lies in one of them."""
        if address is None:
            return False
        six = isinstance(address, IPv6Address)
        return any(isinstance(one, IPv6Network) == six and address in one for one in self._networks)


class Admission:
    """What a configuration says of peers."""

    def __init__(self, settings: Settings) -> None:
        allowed = settings.mllp.allow
        sources = settings.source
        own = tuple(network for source in sources for network in source.peers)
        self._connect = Networks((*allowed, *own)) if allowed else None
        self._peers = {source: Networks(source.peers) for source in sources if source.peers}
        self._by_certificate = tuple(source for source in sources if source.certificate)

    def admits(self, address: Address | None) -> bool:
        """Whether a connection from there is taken: where `mllp.allow` lists networks, from these and from the
        sources' own; else from everywhere.
        """
        return self._connect is None or self._connect.hold(address)

    def source_of(self, peer: Peer, application: str, facility: str) -> SourceSettings | None:
        """The source whose certificate the peer showed: the one that MSH-3 and MSH-4 name, else one that is
        known by its certificate alone. None where there is none: MSH-3 and MSH-4 decide.
        """
        own = [source for source in self._by_certificate if source.certificate.lower() in peer.names]
        named = (s for s in own if s.sending_application or s.sending_facility)
        for source in named:
            if source.sending_application in ("", application) and source.sending_facility in ("", facility):
                return source
        return next((s for s in own if not s.sending_application and not s.sending_facility), None)

    def may_send(self, source: SourceSettings, peer: Peer) -> bool:
        """Whether the peer may send as this source: from its networks, and over MLLP with its certificate."""
        if source.peers and not self._in_network(source, peer):
            return False
        return not source.certificate or peer.transport == "dicom" or source.certificate.lower() in peer.names

    @property
    def maps_certificates(self) -> bool:
        """Whether any source is known by its certificate."""
        return bool(self._by_certificate)

    def _in_network(self, source: SourceSettings, peer: Peer) -> bool:
        networks = self._peers.get(source)
        return (networks or Networks(source.peers)).hold(peer.address)


def refusal(source: str) -> Refusal:
    """What a peer hears that may not send as this source."""
    named = source.encode("ascii", "replace").decode()
    return Refusal(
        PEER_NOT_ALLOWED,
        207,
        f"This peer may not send as {named}: send from the addresses and with the certificate that the"
        " configuration gives it.",
        "MSH-3",
    )
