"""The arrivals service in the test's own process or in one of its own, and what Kafka holds of it."""

import json
import os
import signal
import subprocess
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import sr_builder as sr
from pydicom import Dataset
from pynetdicom import AE, build_context
from reading import records
from running_stack import DOSESTREAM, wait_until
from sr_builder import coded, num

from dosestream.client.store import Storer
from dosestream.events.codec import CodecError
from dosestream.events.records import Audit, RawMessage, Rejection, Study
from dosestream.kafka.topics import Topic
from dosestream.settings import (
    DicomSettings,
    KafkaSettings,
    RepeatsSettings,
    Settings,
    SiteSettings,
    SourceSettings,
)
from services.arrivals.listener import Listener
from services.arrivals.service import Arrivals

CALLED = "DOSESTREAM"
EXPLICIT = "1.2.840.10008.1.2.1"
E = TypeVar("E", RawMessage, Study, Rejection)


@dataclass(frozen=True)
class Running:
    """A listener."""

    settings: Settings
    port: int
    service: Arrivals | None = None
    pid: int = 0
    # What it announced.
    ready: dict[str, Any] = field(default_factory=dict)

    def storer(self, calling: str = "CT1") -> Storer:
        return Storer("127.0.0.1", self.port, CALLED, calling)

    def associate(self, *contexts: str, calling: str = "CT1", called: str = CALLED, **more: Any) -> Any:
        """An association of pynetdicom's that proposes these SOP classes."""
        ae: Any = AE(ae_title=calling)
        ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = 30
        ae.requested_contexts = [build_context(one, EXPLICIT) for one in contexts]
        return ae.associate("127.0.0.1", self.port, ae_title=called, **more)

    def published(self, topic: Topic, kind: type[E], sop_instance_uid: str) -> list[E]:
        """The records of a topic about one instance."""
        return published(self.settings.kafka, topic, kind, sop_instance_uid)


def published(kafka: KafkaSettings, topic: Topic, kind: type[E], sop_instance_uid: str) -> list[E]:
    """The records of a topic about one instance, by receipt."""
    found = [one for _, one in records(kafka, topic, kind) if one.control_id == sop_instance_uid]
    return sorted(found, key=lambda one: one.received_at)


def audited(kafka: KafkaSettings) -> list[Audit]:
    """The audit trail, by receipt; other tests put what is no audit record into the topic."""
    found = [record for _, record in records(kafka, Topic.AUDIT, Audit, CodecError)]
    return sorted(found, key=lambda one: one.received_at)


def settings_for(kafka: KafkaSettings, folder: Path, dicom: DicomSettings, *more: SourceSettings) -> Settings:
    return Settings(
        kafka=kafka,
        repeats=RepeatsSettings(folder=str(folder)),
        site=SiteSettings(authority="SITE"),
        dicom=dicom,
        source=(SourceSettings(name="ct-room-1", ae_title="CT1"), *more),
    )


@contextmanager
def running(settings: Settings) -> Iterator[Running]:
    """The service in this process."""
    service = Arrivals(settings)
    try:
        listener = service.start(threading.Event())
        assert isinstance(listener, Listener)
        yield Running(settings, listener.port, service)
    finally:
        service.stop()


@contextmanager
def process(settings: Settings, folder: Path, *arguments: str, config: str = "") -> Iterator[Running]:
    """The service in a process of its own, as a container runs it."""
    ready = folder / "ready.json"
    (folder / "dosestream.toml").write_text(config)
    environment = os.environ | {
        "DOSESTREAM_REPEATS": settings.repeats.folder,
        "DOSESTREAM_KAFKA": settings.kafka.bootstrap,
        "DOSESTREAM_DICOM_PORT": "0",
        "DOSESTREAM_READY": str(ready),
    }
    command = [DOSESTREAM, "arrivals", "--config", str(folder / "dosestream.toml"), *arguments]
    with (folder / "log").open("w") as log:
        child = subprocess.Popen(command, env=environment, stderr=log)
    try:
        wait_until(lambda: ready.exists() or child.poll() is not None, "the ready file")
        assert ready.exists(), (folder / "log").read_text()
        said = json.loads(ready.read_text())
        yield Running(settings, said["port"], pid=child.pid, ready=said)
        child.send_signal(signal.SIGTERM)
        assert child.wait(90) == 0
    finally:
        child.kill()
        child.wait()


def new_uid() -> str:
    return f"2.25.{uuid.uuid4().int}"


def dose_report(**changes: Any) -> Dataset:
    event = sr.event(num("122130", "1.5", "dGy.cm2"), coded("113721", sr.FLUOROSCOPY), event_uid=new_uid())
    changes = {"SOPInstanceUID": new_uid(), "StudyInstanceUID": new_uid()} | changes
    return sr.projection(event, totals=(num("113722", "1.5", "dGy.cm2"),), **changes)


def image_header(**changes: Any) -> Dataset:
    """An image without its pixels."""
    data_set = sr.header(
        **{
            "SOPClassUID": sr.CT_IMAGE,
            "SOPInstanceUID": new_uid(),
            "StudyInstanceUID": new_uid(),
            "Modality": "CT",
            **changes,
        }
    )
    data_set.Rows = data_set.Columns = 64
    data_set.BitsAllocated, data_set.BitsStored, data_set.HighBit = 16, 16, 15
    data_set.SamplesPerPixel, data_set.PixelRepresentation = 1, 0
    data_set.PhotometricInterpretation = "MONOCHROME2"
    return data_set
