"""One logging configuration for every service: a line on standard error, no patient data.

What identifies a message in a log is its source, control id and position in Kafka, never its content.
"""

import logging
import os
import sys


def configure(service: str) -> logging.Logger:
    """Set up the process's logging and return the service's logger. `DOSESTREAM_LOG_LEVEL` sets the level."""
    logging.basicConfig(
        stream=sys.stderr,
        level=os.environ.get("DOSESTREAM_LOG_LEVEL", "INFO"),
        format=f"%(asctime)s %(levelname)s {service} %(message)s",
        force=True,
    )
    for noisy in ("pynetdicom", "pydicom", "aiokafka", "faust", "mode"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
    return logging.getLogger(f"dosestream.{service}")
