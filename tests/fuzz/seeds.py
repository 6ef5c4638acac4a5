"""What fuzzing begins with: whole messages, framed, and the words a message is made of."""

import os
from pathlib import Path

from dosestream.hl7.framing import frame

HEAD = "MSH|^~\\&|RIS|HOSP|DS|CITY|20260301120000||{kind}|1|P|{version}|||{asks}||{charset}\r"
PID = "PID|1||4711^^^HOSP^MR~99^^^NAT^NI||Doe^John^Q^^Mr||19700101|M\r"
ORDER = (
    PID + "PV1|1|O|RAD^1^1\rORC|NW|P1|F1||SC||^^^20260301^^R||20260301|||1234^Smith\r"
    "OBR|1|P1|F1|CTABD^CT \\T\\ \\X4142\\^L||||||||||||||A1|RP1|S1||||CT\rZDS|1.2.3^RIS^Application^DICOM\r"
)
REPORT = (
    PID
    + "OBR|1|P1|F1|CT||||||||||||||||||||CT|F\rOBX|1|TX|GDT||No \\H\\stone\\N\\.\\.br\\||||||F\rNTE|1||note\r"
)
SIU = (
    "SCH|AP1|AP2||||||||30|min|^^^20260302\r"
    + PID
    + "RGS|1\rAIS|1||CT|20260302\rAIL|1||CT1\rAIP|1||1^Smith\r"
)
MDM = "EVN|T02|20260301\r" + PID + "TXA|1|DI|TX||20260301||||||||D1||P1|F1||AU\rOBX|1|TX|||Text\r"
PATIENT = "EVN|A08|20260301\r" + PID + "MRG|4712^^^HOSP\r"

SPOKEN = [
    ("ADT^A08", PATIENT, "2.5", "|", ""),
    ("ADT^A40", PATIENT, "2.3.1", "AL|AL", "8859/1"),
    ("ORM^O01", ORDER, "2.5", "|", "UNICODE UTF-8"),
    ("OMI^O23^OMI_O23", ORDER + "IPC|A1|RP1|1.2.3|S1|CT\r", "2.5.1", "NE|ER", ""),
    ("ORU^R01", REPORT, "2.4", "|", "ASCII"),
    ("SIU^S12", SIU, "2.8", "|", ""),
    ("MDM^T02", MDM, "2.5", "|", ""),
    ("ADT^A08", PATIENT.replace("Doe", "\x1b$B;3ED\x1b(B"), "2.5", "|", "ISO IR6~ISO IR87"),
    ("QQQ^Z99", PID, "7", "SU|SU", ""),
]

WORDS = [
    *(
        "MSH|^~\\\\&|",
        "EVN|",
        "PID|",
        "PV1|",
        "MRG|",
        "ORC|",
        "OBR|",
        "OBX|",
        "NTE|",
        "IPC|",
        "ZDS|",
        "TQ1|",
        "SCH|",
    ),
    *(
        "AIS|",
        "RGS|",
        "TXA|",
        "SPM|",
        "FHS|^~\\\\&|",
        "BHS|^~\\\\&|",
        "BTS|1",
        "FTS|1",
        "\\x0b",
        "\\x1c\\x0d",
        "\\x0d",
    ),
    *(
        "\\\\F\\\\",
        "\\\\S\\\\",
        "\\\\X41\\\\",
        "\\\\.br\\\\",
        "\\\\C2842\\\\",
        "\\\\M2442\\\\",
        '\\"\\"',
        "\\x1b$B",
        "\\x1b(B",
    ),
    *(
        "UNICODE UTF-8",
        "ISO IR87",
        "8859/1",
        "ADT^A08",
        "ADT^A40",
        "ORM^O01",
        "ORU^R01",
        "SIU^S12",
        "MDM^T02",
        "OMI^O23",
    ),
    *(
        "20260301120000+0100",
        "00000000",
        "99999999",
        "^^^HOSP",
        "|AL|NE|",
        "\\xef\\xbb\\xbf",
        "\\xff\\xfe",
        "2.5.1",
    ),
]


def write_seeds(folder: Path) -> None:
    """One file a message; the sample messages too, where DOSESTREAM_TEST_DATA says where they are."""
    bodies = [
        (HEAD.format(kind=kind, version=version, asks=asks, charset=charset) + rest).encode("latin-1")
        for kind, rest, version, asks, charset in SPOKEN
    ]
    if outside := os.environ.get("DOSESTREAM_TEST_DATA"):
        bodies += [path.read_bytes().replace(b"\n", b"\r") for path in Path(outside).glob("hl7/*/*.hl7")]
    bodies.append(b"BHS|^~\\&\r" + b"".join(bodies[:2]) + b"BTS|2\r")
    for number, body in enumerate(bodies):
        (folder / f"{number:04}").write_bytes(b"\0\xff" + frame(body))


def write_words(path: Path) -> None:
    """The dictionary of libFuzzer."""
    path.write_text("".join(f'"{word}"\n' for word in WORDS))
