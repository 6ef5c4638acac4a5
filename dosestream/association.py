"""What every DICOM listener of ours sets on pynetdicom's associations."""

import socket
from typing import Any


def opened(event: Any) -> None:
    """EVT_CONN_OPEN: answers go out at once; a peer that vanished without a word is noticed by the kernel."""
    connection = event.assoc.dul.socket.socket
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)


def closed(event: Any) -> None:
    """EVT_CONN_CLOSE: a connection that ends without a request (a load balancer's probe) gives its place back.

    pynetdicom goes on waiting for the request, and counts the association, until its ACSE timeout (PS3.8 ARTIM).
    """
    if event.assoc.requestor.primitive is None:
        event.assoc.dul.to_user_queue.put(None)
