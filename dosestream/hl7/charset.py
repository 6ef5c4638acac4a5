"""Character sets (MSH-18, HL7 table 0211): bytes to text, or the reason why not; never replacement characters."""

from dataclasses import dataclass

from dosestream.hl7.header import Header, strip_mark

# HL7 table 0211 to Python's codec; UTF-8 and ISO names as some senders write them.
CODECS: dict[str, str] = {
    "ASCII": "ascii",
    "UNICODE UTF-8": "utf-8",
    "UTF-8": "utf-8",
    "ISO IR6": "ascii",
    **{f"8859/{part}": f"iso8859-{part}" for part in (*range(1, 12), 13, 14, 15)},
    **{f"ISO-8859-{part}": f"iso8859-{part}" for part in (*range(1, 12), 13, 14, 15)},
}

# Listed in table 0211 but not read yet: such a message is kept raw, so that a replay catches it up.
UNREAD = frozenset(
    {"ISO IR14", "ISO IR87", "ISO IR159", "GB 18030-2000", "KS X 1001", "CNS 11643-1992", "BIG-5"}
)

DEFAULT = "UNICODE UTF-8"


@dataclass(frozen=True, slots=True)
class Undecodable:
    """The message cannot be read as text.

    Attributes:
        reason: one sentence.
        listed: the character set is a standard one that this release does not read yet.
    """

    reason: str
    listed: bool = False


def decode(body: bytes, header: Header, default: str = "") -> str | Undecodable:
    """The message as text, without a byte-order mark.

    `default` is the source's character set, used where MSH-18 is empty (else UTF-8).
    """
    declared = header.field(18).decode("latin-1")
    names = {name.strip().upper() for name in declared.split(header.delimiters.repetition)} - {""}
    names = names or {(default or DEFAULT).upper()}
    if names & UNREAD:
        return Undecodable(f"the character set {declared or default} is not read yet", listed=True)
    codecs = {CODECS.get(name, "") for name in names}
    if len(codecs) > 1 or "" in codecs:
        return Undecodable(f"the character set {', '.join(sorted(names))} cannot be read on the wire")
    (codec,) = codecs
    try:
        return strip_mark(body).decode(codec)
    except UnicodeDecodeError as error:
        return Undecodable(f"byte {error.start} is no {', '.join(sorted(names))}")
