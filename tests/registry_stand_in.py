"""A stand-in for a Confluent-compatible schema registry: the four requests of its API that are made of it.

Paths and answers are those of the registry's REST API (`/subjects/S/versions`, `/schemas/ids/N`, `/config/S`). It judges no
compatibility, so it shows nothing of what a registry refuses.
"""

import base64
import json
import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class StandIn:
    """Listens until `stop`; `user` is the `user:password` it wants."""

    def __init__(self, port: int = 0, user: str = "", tls: ssl.SSLContext | None = None) -> None:
        self.ids: dict[str, int] = {}
        self.subjects: dict[str, int] = {}
        self.levels: dict[str, str] = {}
        self.user = user
        self.refused = 0

        class Handler(_Handler):
            registry = self

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Go away."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Handler(BaseHTTPRequestHandler):
    registry: StandIn

    def do_POST(self) -> None:
        self._answer(self._registered)

    def do_GET(self) -> None:
        self._answer(self._found)

    def do_PUT(self) -> None:
        self._answer(self._configured)

    def _registered(self, words: list[str], body: Any) -> Any:
        number = self.registry.ids.setdefault(body["schema"], len(self.registry.ids) + 1)
        self.registry.subjects[words[1]] = number
        return {"id": number}

    def _found(self, words: list[str], _body: Any) -> Any:
        by_id = {number: text for text, number in self.registry.ids.items()}
        return {"schema": by_id[int(words[2])]}

    def _configured(self, words: list[str], body: Any) -> Any:
        self.registry.levels[words[1]] = body["compatibility"]
        return body

    def _answer(self, act: Any) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(length)) if length else None
        wanted = f"Basic {base64.b64encode(self.registry.user.encode()).decode()}"
        if self.registry.user and self.headers.get("Authorization") != wanted:
            self.registry.refused += 1
            status, said = 401, {"error_code": 401, "message": "Unauthorized"}
        else:
            try:
                status, said = 200, act(self.path.split("?")[0].strip("/").split("/"), body)
            except KeyError:
                status, said = 404, {"error_code": 40403, "message": "Schema not found"}
        text = json.dumps(said).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/vnd.schemaregistry.v1+json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_: object) -> None:
        """Nothing is said."""
