"""What HL7 lists: versions (table 0104), message types (0076) and trigger events (0003), 2.1 to 2.9 together."""

_VERSIONS = "2.1 2.2 2.3 2.3.1 2.3.2 2.4 2.5 2.5.1 2.6 2.7 2.7.1 2.8 2.8.1 2.8.2 2.9"
VERSIONS = frozenset(_VERSIONS.split())

# Acknowledgements of themselves: never answered. (NAK was never listed; some systems send it.)
ACKNOWLEDGEMENTS = frozenset({"ACK", "NAK", "MCF"})

_MESSAGE_TYPES = """
ACK ADR ADT ARD BAR BPS BRP BRT BTS CCF CCI CCM CCQ CCU CQU CRM CSU DBC DBU DEL DEO DER DFT DOC DPR
DRC DRG DSR EAC EAN EAR EDR EHC EQQ ERP ESR ESU INR INU LSR LSU MCF MDM MFD MFK MFN MFQ MFR NAK NMD
NMQ NMR OMB OMD OMG OMI OML OMN OMP OMQ OMS OPL OPR OPU ORA ORB ORD ORF ORG ORI ORL ORM ORN ORP ORR
ORS ORU ORX OSM OSQ OSR OSU OUL PEX PGL PIN PMU PPG PPP PPR PPT PPV PRR PTR QBP QCK QCN QRY QSB QSX
QVR RAR RAS RCI RCL RDE RDR RDS RDY REF RER RGR RGV ROR RPA RPI RPL RPR RQA RQC RQI RQP RQQ RRA RRD
RRE RRG RRI RSP RTB SCN SDN SDR SIU SLN SLR SMD SPQ SQM SQR SRM SRR SSR SSU STC STI SUR TBR TCR TCU
UDM VQQ VXQ VXR VXU VXX
"""
MESSAGE_TYPES = frozenset(_MESSAGE_TYPES.split())

# First letter of an event to the numbers listed, as ranges.
_EVENTS: dict[str, tuple[tuple[int, int], ...]] = {
    "A": ((1, 55), (60, 62)),
    "B": ((1, 8),),
    "C": ((1, 12),),
    "E": ((1, 4), (10, 10), (12, 13), (15, 15), (20, 22), (24, 24), (30, 31)),
    "I": ((1, 22),),
    "J": ((1, 2),),
    "K": ((11, 11), (13, 13), (15, 15), (21, 25), (31, 34)),
    "M": ((1, 18),),
    "N": ((1, 2),),
    "O": ((1, 61),),
    "P": ((1, 12),),
    "Q": ((1, 9), (11, 11), (13, 13), (15, 17), (21, 34)),
    "R": ((1, 9), (21, 26), (30, 33), (40, 43)),
    "S": ((1, 37),),
    "T": ((1, 12),),
    "U": ((1, 14),),
    "V": ((1, 4),),
    "W": ((1, 2),),
}

_OTHER_EVENTS = """
CNQ PC1 PC2 PC3 PC4 PC5 PC6 PC7 PC8 PC9 PCA PCB PCC PCD PCE PCF PCG PCH PCJ PCK PCL R0R RAR RDR RER
RGR ROR
"""

EVENTS = frozenset(
    f"{letter}{number:02d}"
    for letter, ranges in _EVENTS.items()
    for first, last in ranges
    for number in range(first, last + 1)
) | frozenset(_OTHER_EVENTS.split())

# Error codes of ERR-3 (table 0357).
ERRORS: dict[int, str] = {
    100: "Segment sequence error",
    101: "Required field missing",
    102: "Data type error",
    103: "Table value not found",
    200: "Unsupported message type",
    201: "Unsupported event code",
    202: "Unsupported processing id",
    203: "Unsupported version id",
    204: "Unknown key identifier",
    207: "Application internal error",
}
