"""The way of any bytes through ingest without its wire and its broker, with the laws that hold for all of them."""

from ledger import account

from dosestream.events.codec import Codec
from dosestream.events.identity import content_hash
from dosestream.hl7.acknowledgement import acknowledge, codes
from dosestream.hl7.batch import is_batch, read_batch
from dosestream.hl7.framing import FS, VT, Frame, Framer
from dosestream.hl7.header import read_header
from dosestream.kafka.publisher import Position
from dosestream.mapping.normalise import finish, interpret
from dosestream.settings import Settings, SourceSettings
from services.ingest.publications import Publications, raw_message

CAP = 64 * 1024
AT = 1_772_366_400_000_000
POSITION = Position(0, 1)
CHARSETS = ("", "ASCII", "8859/1", "8859/5", "ISO IR6~ISO IR87", "~ISO IR87", "GB 18030-2000", "WINDOWS-1252")

CODEC = Codec()
SETTINGS = [Settings(source=(SourceSettings(name="any", charset=charset),)) for charset in CHARSETS]


def pass_through(data: bytes) -> None:
    """Take the bytes of a connection; the first two say the source's character set and the size of packets.

    Raises:
        AssertionError: a law does not hold. Anything else raised is a fault as well.
    """
    settings = SETTINGS[data[0] % len(SETTINGS)] if data else SETTINGS[0]
    packet = data[1] + 1 if len(data) > 1 else 1
    stream, framer = data[2:], Framer(CAP)
    pieces = [
        piece for at in range(0, len(stream), packet) for piece in framer.feed(stream[at : at + packet])
    ]
    pieces += framer.end()
    account(stream, pieces)
    for piece in pieces:
        if not isinstance(piece, Frame):
            acknowledged(piece.body, settings)
        elif is_batch(piece.body):
            for message in read_batch(piece.body).messages:
                acknowledged(message, settings)
        else:
            acknowledged(piece.body, settings)


def acknowledged(body: bytes, settings: Settings) -> None:
    """One message: interpreted, answered, made into records, which can be read again."""
    source = settings.source[0]
    found = interpret(body, settings, source)
    due = codes(found.header, found.refusal)
    for code in due:
        answer = acknowledge(found.header, code, found.refusal, AT)
        # What is echoed must not break the frame, and the sender must be able to read it.
        assert VT not in answer
        assert FS not in answer
        header = read_header(answer)
        assert header is not None
        said = next(line for line in answer.split(b"\r") if line.startswith(b"MSA"))
        assert said[4:6].decode() == code
        if found.header is not None:
            assert said[7:].startswith(found.header.field(10))
    raw = raw_message(found, body, content_hash(body), AT, "peer:1", due[0] if due else "")
    made = finish(found, raw, POSITION)
    # Events, a rejection, or a reason why there is nothing to say.
    assert made.events or made.rejection is not None or made.ignored
    assert CODEC.decode(CODEC.encode(raw), type(raw)) == raw
    for _, event in made.events:
        assert CODEC.decode(CODEC.encode(event), type(event)) == event
    if made.rejection is not None:
        assert made.rejection.body == body
        assert CODEC.decode(CODEC.encode(made.rejection), type(made.rejection)) == made.rejection
    publications = Publications(settings, CODEC)
    records = publications.normalised(found, raw, POSITION)
    # Live and repair agree on every byte.
    assert [r.value for r in publications.repaired(raw, POSITION)] == [r.value for r in records]
