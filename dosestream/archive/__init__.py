"""Topics kept in files: Avro object containers with a manifest, and topics filled from them again."""
