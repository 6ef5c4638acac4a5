"""`/metrics`, `/health/live` and `/health/ready` over HTTP, on threads of their own."""

import json
import logging
import threading
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final

from dosestream.metrics.disk import disks
from dosestream.metrics.exposition import CONTENT_TYPE, Exposition, Families, Reading, Sample
from dosestream.metrics.health import Health
from dosestream.metrics.names import READY
from dosestream.settings import Settings

log = logging.getLogger("dosestream.metrics")

# A client that sends nothing, or does not read.
TIMEOUT_S: Final = 10.0
LOOPBACK: Final = "127.0.0.1"


class MetricsServer:
    """Listens from construction on.

    Raises:
        OSError: the address cannot be bound.
    """

    def __init__(
        self, host: str, port: int, health: Health, *readings: Reading, others: Families = tuple
    ) -> None:
        self._health = health
        exposition = Exposition((*readings, self._ready), others)

        class Handler(_Handler):
            owner = self
            metrics = exposition

        self._http = ThreadingHTTPServer((host, port), Handler)
        self._http.daemon_threads = True
        self.host, self.port = str(self._http.server_address[0]), int(self._http.server_address[1])
        threading.Thread(target=self._http.serve_forever, name="metrics", daemon=True).start()

    @property
    def health(self) -> Health:
        """What it answers by."""
        return self._health

    @property
    def url(self) -> str:
        """Where it is reached on this machine."""
        host = LOOPBACK if self.host in ("0.0.0.0", "::") else self.host
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}"

    def close(self) -> None:
        """Listen no more."""
        self._http.shutdown()
        self._http.server_close()

    def _ready(self) -> list[Sample]:
        _, said = self._health.is_ready()
        return [Sample(READY, float(word == "ok"), (name,)) for name, word in said.items()]


class _Handler(BaseHTTPRequestHandler):
    owner: MetricsServer
    metrics: Exposition
    timeout = TIMEOUT_S
    server_version, sys_version = "dosestream", ""

    def handle(self) -> None:
        """One connection; who asks and does not wait for the answer is no news."""
        with suppress(ConnectionError):
            super().handle()

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path == "/metrics":
            self._answer(200, CONTENT_TYPE, self.metrics.text())
        elif path in ("/health/live", "/health/ready"):
            health = self.owner.health
            good, said = health.is_live() if path == "/health/live" else health.is_ready()
            body = json.dumps({"status": "ok" if good else "failing", "checks": said}) + "\n"
            self._answer(200 if good else 503, "application/json", body.encode())
        else:
            self._answer(404, "text/plain", b"/metrics, /health/live, /health/ready\n")

    def _answer(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """A scrape is no news."""


def serve(
    settings: Settings,
    service: str,
    health: Health,
    *readings: Reading,
    others: Families = tuple,
    share: bool = False,
) -> MetricsServer | None:
    """Serve where the settings say, with the disks' readings; None where they say nowhere, or it cannot be:
    a service goes on without, and its log says so.

    A process that is one of several (`share`) serves on any port of this machine, for its parent to read.
    """
    metrics = settings.metrics
    if not (port := metrics.port_of(service)):
        return None
    host, port = (LOOPBACK, 0) if share else (metrics.host, port)
    try:
        server = MetricsServer(host, port, health, *readings, disks(settings), others=others)
    except OSError as error:
        log.error(
            "metrics cannot be served on %s:%d (%s): stop what uses it, or set metrics.port"
            " (DOSESTREAM_METRICS_PORT); the service goes on without",
            *(host, port, error.strerror),
        )
        return None
    log.info("metrics and health at %s", server.url)
    return server
