"""HL7 messages to events: the IHE Radiology defaults as tables, and what a site changes in them. No I/O."""
