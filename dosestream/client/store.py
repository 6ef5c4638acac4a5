"""A C-STORE client (PS3.4 annex B): sends instances as they are encoded and reads the answers."""

import socket
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Final

from pydicom import Dataset
from pydicom.config import disable_value_validation
from pydicom.errors import InvalidDicomError
from pydicom.filereader import read_file_meta_info
from pynetdicom import AE, _config, build_context, evt
from pynetdicom.status import code_to_category

from dosestream.client.checkpoint import keep_answers

# A file's data set goes out byte for byte, never decoded: a broken report arrives as broken as it is.
_config.STORE_SEND_CHUNKED_DATASET = True

EXPLICIT_VR_LITTLE_ENDIAN: Final = "1.2.840.10008.1.2.1"
# PS3.8 9.3.2.2: odd context ids up to 255.
MAX_CONTEXTS: Final = 128
SUCCESS: Final = 0x0000
# PS3.7 annex C: stored, with remarks.
WARNING: Final = "Warning"

Context = tuple[str, str]


class StoreError(Exception):
    """The instance was not answered: check address and AE title and that the listener runs, then send it again."""


class Storer:
    """One association to a storage SCP, opened when needed and again after a failure.

    Use as a context manager: `with Storer(host, port, called) as storer: status = storer.store(dataset)`.

    Args:
        host: of the listener.
        port: of the listener.
        called: its AE title.
        calling: our AE title.
        contexts: (SOP class, transfer syntax) pairs to propose from the start; others are added as they come.
        timeout_s: for connecting and for each answer.
    """

    def __init__(
        self,
        host: str,
        port: int,
        called: str,
        calling: str = "DOSESTREAM",
        *,
        contexts: Iterable[Context] = (),
        timeout_s: float = 30.0,
    ) -> None:
        self._address = (host, port)
        self._called = called
        self._calling = calling
        self._contexts: dict[Context, None] = dict.fromkeys(contexts)
        self._timeout_s = timeout_s
        self._association: Any = None

    def __enter__(self) -> "Storer":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def store(self, instance: Dataset | bytes | Path) -> int:
        """Store one instance and return the DIMSE status.

        Args:
            instance: a data set with file meta information, or a DICOM file by content or path, sent as encoded.

        Raises:
            StoreError: no association, its context was refused, or no answer. The association is given up.
        """
        if isinstance(instance, bytes):
            with tempfile.TemporaryDirectory(prefix="dosestream-") as folder:
                path = Path(folder, "instance.dcm")
                path.write_bytes(instance)
                return self.store(path)
        try:
            # Illegal values go out as they are: judging them is the listener's part.
            with disable_value_validation():
                context = _context_of(instance)
                association = self._associate(context)
                answer = association.send_c_store(instance)
        except (AttributeError, ValueError, RuntimeError, OSError, InvalidDicomError) as error:
            self.close()
            raise StoreError(str(error)) from error
        if "Status" not in answer:
            self.close()
            raise StoreError("the association ended, or no answer came in time")
        return int(answer.Status)

    def close(self) -> None:
        """Release the association; the next instance opens another."""
        association, self._association = self._association, None
        if association is not None and association.is_established:
            association.release()

    def _associate(self, context: Context) -> Any:
        """The association, with the context proposed. Raises StoreError."""
        known = context in self._contexts
        if known and self._association is not None and self._association.is_established:
            return self._association
        self.close()
        if not known:
            # Over the limit the oldest contexts go: what was sent last is likely to come again.
            kept = list(self._contexts)[-(MAX_CONTEXTS - 1) :]
            self._contexts = dict.fromkeys([*kept, context])
        ae: Any = AE(ae_title=self._calling)
        ae.acse_timeout = ae.dimse_timeout = ae.connection_timeout = self._timeout_s
        ae.network_timeout = None
        # One context each: within one the acceptor would choose among the transfer syntaxes.
        ae.requested_contexts = [build_context(sop_class, [syntax]) for sop_class, syntax in self._contexts]
        host, port = self._address
        handlers = [(evt.EVT_CONN_OPEN, _send_at_once)]
        association = ae.associate(host, port, ae_title=self._called, evt_handlers=handlers)
        if not association.is_established:
            refused = "refused the association" if association.is_rejected else "did not answer"
            raise StoreError(f"{self._called}@{host}:{port} {refused}")
        keep_answers(association)
        self._association = association
        return association


def store_files(files: list[Path], ae_title: str, host: str, port: int, calling: str = "DOSESTREAM") -> int:
    """Store DICOM files and print a line each: file, status, what it means.

    Args:
        files: files, or folders to walk.
        ae_title: the listener's.
        host: of the listener.
        port: of the listener.
        calling: our AE title.

    Returns:
        The exit code: 1 when one was refused, could not be sent or is no DICOM file.
    """
    refused = False
    paths = list(_walk(files))
    contexts: dict[Context, None] = {}
    for path in paths:
        try:
            with disable_value_validation():
                contexts[_context_of(path)] = None
        except (AttributeError, ValueError, OSError, InvalidDicomError):
            continue  # said below, in its turn
    with Storer(host, port, ae_title, calling, contexts=list(contexts)[:MAX_CONTEXTS]) as storer:
        for path in paths:
            try:
                status = storer.store(path)
            except StoreError as error:
                refused = True
                print(f"{path}  not sent: {error}", flush=True)
                continue
            category = "Success" if status == SUCCESS else code_to_category(status)
            refused = refused or (status != SUCCESS and category != WARNING)
            print(f"{path}  0x{status:04X}  {category}", flush=True)
    if not paths:
        print("no files there", file=sys.stderr)
    return int(refused or not paths)


def _walk(files: Iterable[Path]) -> Iterator[Path]:
    for path in files:
        if path.is_dir():
            yield from sorted(
                inner for inner in path.rglob("*") if inner.is_file() and inner.name != "DICOMDIR"
            )
        else:
            yield path


def _context_of(instance: Dataset | Path) -> Context:
    """SOP class and transfer syntax. Raises AttributeError, ValueError, OSError or InvalidDicomError."""
    if isinstance(instance, Dataset):
        return str(instance.SOPClassUID), str(instance.file_meta.TransferSyntaxUID)
    meta = read_file_meta_info(instance)
    return str(meta.MediaStorageSOPClassUID), str(meta.TransferSyntaxUID)


def _send_at_once(event: Any) -> None:
    """A request's last segment must not wait for the acknowledgement of the one before."""
    event.assoc.dul.socket.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
