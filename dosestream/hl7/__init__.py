"""HL7 version 2 in its ER7 encoding (HL7 v2.5.1 chapter 2): reading, paths, times, framing, answers. No I/O."""
