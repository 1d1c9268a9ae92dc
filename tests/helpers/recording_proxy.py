"""A proxy on the loopback interface that notes what it is sent, and forwards nothing."""

import contextlib
import socketserver
import threading
from collections.abc import Iterator

_KINDS = ("http", "https", "all", "ftp", "grpc", "ws", "wss")
_REFUSAL = b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class _Handler(socketserver.BaseRequestHandler):
    server: "RecordingProxy"

    def handle(self) -> None:
        self.request.settimeout(10)
        said = b"a connection"
        with contextlib.suppress(OSError):
            said = self.request.recv(65536) or said
        self.server.received.append(said)
        with contextlib.suppress(OSError):
            self.request.sendall(_REFUSAL)


class RecordingProxy(socketserver.ThreadingTCPServer):
    """The proxy; ``received`` is what each connection began with."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.received: list[bytes] = []

    @property
    def variables(self) -> dict[str, str]:
        """Every variable that names a proxy, in lower and upper case; none names an exception."""
        url = f"http://127.0.0.1:{self.server_address[1]}"
        names = [f"{kind}_proxy" for kind in _KINDS]
        none = dict.fromkeys(("no_proxy", "NO_PROXY"), "")
        return {**dict.fromkeys([*names, *(name.upper() for name in names)], url), **none}


@contextlib.contextmanager
def record_proxy() -> Iterator[RecordingProxy]:
    """Run the proxy."""
    with RecordingProxy() as proxy:
        thread = threading.Thread(target=proxy.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        yield proxy
        proxy.shutdown()
        thread.join()
