"""What ingest puts on the audit trail."""

from dataclasses import fields

from dosestream.admission import Peer
from dosestream.audit.trail import Kind, Trail, now
from dosestream.hl7.acceptance import Refusal
from dosestream.kafka.publisher import Position
from dosestream.settings import Settings
from services.ingest.admission import Refused

NOWHERE = Position(-1, -1)


class Audit:
    """Writes the records of one process."""

    def __init__(self, trail: Trail) -> None:
        self._trail = trail

    def receipt(
        self,
        source: str,
        message_type: str,
        control_id: str,
        peer: Peer,
        content: str,
        at: int,
        answer: str,
        refusal: Refusal | None,
        position: Position = NOWHERE,
        *,
        repeat: bool = False,
    ) -> None:
        """A message was answered; `refusal` is why it is refused, or accepted without being mapped."""
        self._trail.write(
            Kind.RECEIPT,
            at,
            source,
            peer.name,
            tls_subject=peer.subject,
            transport=peer.transport,
            message_type=message_type,
            control_id=control_id,
            content_hash=content,
            answer=answer,
            raw_partition=position.partition,
            raw_offset=position.offset,
            repeat=repeat,
            code=refusal.code if refusal is not None else "",
        )

    def opened(self, peer: Peer) -> None:
        """A connection is open; over TLS, the handshake is over."""
        self._connection(Kind.OPENED, peer)

    def closed(self, peer: Peer) -> None:
        """A connection is over."""
        self._connection(Kind.CLOSED, peer)

    def refused(self, one: Refused) -> None:
        """Connections were refused."""
        self._trail.write(
            Kind.REFUSED, now(), peer=one.host, code=one.why, detail=one.detail, count=one.attempts
        )

    def configuration(self, before: Settings | None, after: Settings) -> None:
        """The configuration holds from now on."""
        changed = [f.name for f in fields(after) if getattr(before, f.name, None) != getattr(after, f.name)]
        detail = "at the start" if before is None else f"changed: {', '.join(changed) or 'nothing'}"
        self._trail.write(Kind.CONFIGURATION, now(), detail=detail)

    def configuration_kept(self, mistakes: int) -> None:
        """A broken configuration was not taken."""
        self._trail.write(Kind.CONFIGURATION, now(), code="broken", detail=f"{mistakes} mistakes: kept")

    def certificate(self, code: str, detail: str) -> None:
        """The listener's own certificate was read; `code` is empty where it holds now."""
        self._trail.write(Kind.CERTIFICATE, now(), code=code, detail=detail)

    def _connection(self, kind: Kind, peer: Peer) -> None:
        self._trail.write(kind, now(), peer=peer.name, tls_subject=peer.subject, transport=peer.transport)
