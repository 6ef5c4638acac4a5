"""Orthanc's REST change feed as a source: what is stored there arrives here, reports whole and images as headers.

The position in the feed is kept, and moved on only when Kafka has everything before it.
"""

import base64
import http.client
import json
import logging
import threading
import urllib.error
import urllib.request
from typing import Any, Final

from dosestream.dose.dataset import DataSetError
from dosestream.dose.header_stream import HeaderStream
from dosestream.dose.part10 import meta_of
from dosestream.settings import OrthancSettings
from services.arrivals.intake import Instance, Intake

log = logging.getLogger("dosestream.arrivals")

NEW_INSTANCE: Final = "NewInstance"
AT_ONCE: Final = 100
TIMEOUT_S: Final = 30.0
AT_A_TIME: Final = 256 * 1024


class Feed:
    """Polls one Orthanc from a thread of its own."""

    def __init__(self, orthanc: OrthancSettings, intake: Intake, called: str, cap: int) -> None:
        self._orthanc = orthanc
        self._intake = intake
        self._called, self._cap = called, cap
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="orthanc", daemon=True)

    def start(self) -> None:
        """Begin to poll."""
        self._thread.start()

    def close(self) -> None:
        """Finish the instance under way."""
        self._closing.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._closing.is_set():
            try:
                # What is known of the feed is known once the broker is.
                more = self._intake.repeats is not None and self._poll()
            except (OSError, http.client.HTTPException, ValueError) as error:
                log.warning("Orthanc at %s: %s: tried again", self._orthanc.url, error)
                more = False
            if not more:
                self._closing.wait(self._orthanc.poll_s)

    def _poll(self) -> bool:
        """Take the next changes; whether there are more."""
        known = self._intake.known
        feed = self._orthanc.url
        since = known.position(feed)
        changes = json.loads(self._get(f"/changes?since={since}&limit={AT_ONCE}").read())
        if changes["Last"] < since:
            # Another database behind the same address: from its beginning; what is known gets the same answer.
            log.warning("Orthanc at %s begins anew", feed)
            known.set_position(feed, 0)
            return True
        for change in changes["Changes"]:
            if self._closing.is_set():
                return False
            if change["ChangeType"] == NEW_INSTANCE and not self._take(str(change["ID"])):
                return False
            known.set_position(feed, int(change["Seq"]))
        return not changes["Done"]

    def _take(self, identifier: str) -> bool:
        """Fetch one instance and take it; whether it is settled."""
        try:
            response = self._get(f"/instances/{identifier}/file")
        except urllib.error.HTTPError as error:
            if error.code == http.client.NOT_FOUND:
                return True  # deleted there meanwhile
            raise
        with response:
            try:
                instance = self._read(response)
            except DataSetError as error:
                log.warning("Orthanc's instance %s is no DICOM file: %s", identifier, error)
                return True
        return self._intake.take(instance) != instance.statuses.out_of_resources

    def _read(self, response: Any) -> Instance:
        """Raises DataSetError or OSError. The rest of an image is not fetched once its header is there."""
        start = _Replayed(response)
        sop_class, sop_instance, transfer_syntax = meta_of(start)  # type: ignore[arg-type]
        stream = HeaderStream(sop_class, transfer_syntax, self._cap)
        while not stream.is_header_over and (piece := start.read(AT_A_TIME)):
            stream.feed(piece)
        return Instance(
            sop_class_uid=sop_class,
            sop_instance_uid=sop_instance,
            transfer_syntax=transfer_syntax,
            data_set=stream.data_set(),
            calling=self._orthanc.ae_title,
            called=self._called,
            peer=self._orthanc.url.partition("://")[2],
            over_cap=stream.over_cap,
            fetched=True,
        )

    def _get(self, path: str) -> Any:
        """Raises OSError."""
        request = urllib.request.Request(self._orthanc.url.rstrip("/") + path)
        if self._orthanc.user:
            told = f"{self._orthanc.user}:{self._orthanc.password}".encode()
            request.add_header("Authorization", "Basic " + base64.b64encode(told).decode())
        return urllib.request.urlopen(request, timeout=TIMEOUT_S)


class _Replayed:
    """A response whose first bytes may be read again: `seek` goes back within them."""

    def __init__(self, response: Any) -> None:
        self._response = response
        self._first = b""
        self._again = b""

    def read(self, size: int) -> bytes:
        if self._again:
            piece, self._again = self._again[:size], self._again[size:]
            return piece
        fresh: bytes = self._response.read(size)
        if not self._first:
            self._first = fresh
        return fresh

    def seek(self, position: int) -> None:
        self._again = self._first[position:]
