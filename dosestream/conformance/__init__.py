"""Full conformance of messages to the HL7 version and to a site's message profiles, by hl7apy; off the hot path."""
