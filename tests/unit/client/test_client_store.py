"""A storage client against pynetdicom's own listener."""

import inspect
import sys
import threading
import time
from collections.abc import Iterator
from types import FrameType
from typing import Any

import pytest
import sr_builder as sr
from pydicom.uid import ExplicitVRLittleEndian, XRayRadiationDoseSRStorage
from pynetdicom import AE, build_context, evt
from pynetdicom.association import Association

from dosestream.client.store import SUCCESS, Storer

SLOW_S = 0.03


@pytest.fixture
def port() -> Iterator[int]:
    """Where a listener takes everything."""
    ae: Any = AE()
    ae.supported_contexts = [build_context(XRayRadiationDoseSRStorage, [ExplicitVRLittleEndian])]
    listener = ae.start_server(
        ("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, lambda _: SUCCESS)]
    )
    yield listener.socket.getsockname()[1]
    listener.shutdown()


@pytest.fixture
def slow_reactors() -> Iterator[None]:
    """Reactors lose the processor just when they went on, before they say so."""
    lines, first = inspect.getsourcelines(Association._run_reactor)
    (wait,) = [
        first + n for n, line in enumerate(lines) if line == " " * 12 + "self._reactor_checkpoint.wait()\n"
    ]

    def trace(frame: FrameType, event: str, _: object) -> Any:
        if frame.f_code is not Association._run_reactor.__code__:
            return None
        if event == "line" and frame.f_lineno == wait + 1:
            time.sleep(SLOW_S)
        return trace

    threading.settrace(trace)
    yield
    threading.settrace(None)


@pytest.mark.skipif(sys.gettrace() is not None, reason="another one traces")
@pytest.mark.usefixtures("slow_reactors")
def test_no_answer_is_lost_to_a_reactor_that_goes_on_late(port: int) -> None:
    report = sr.part10(sr.report())
    with Storer("127.0.0.1", port, "STORE", timeout_s=2) as storer:
        assert [storer.store(report) for _ in range(5)] == [SUCCESS] * 5
