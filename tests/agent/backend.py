"""`python -m tests.agent.backend FOLDER PORT ADDRESS...`: one small web server for each address, in one process.

Every answer begins with the server's own address. /ping is 503 while FOLDER/ADDRESS exists; /login sets the cookie that the
query names; what the load balancer adds (X-Forwarded-*) is told.
"""

import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socketserver import TCPServer
from urllib.parse import urlsplit


class Answers(BaseHTTPRequestHandler):
    """One request."""

    protocol_version = "HTTP/1.1"
    folder = Path("/nonexistent")

    def do_GET(self) -> None:
        """The address, and what was asked for."""
        own = str(self.server.server_address[0])
        asked = urlsplit(self.path)
        sick = asked.path == "/ping" and (self.folder / own).exists()
        told = [f"{name}={value}" for name, value in self.headers.items() if name.lower().startswith("x-forwarded")]
        body = " ".join((own, *told)).encode()
        self.send_response(503 if sick else 200)
        if asked.path == "/login":
            self.send_header("Set-Cookie", asked.query)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_request(self, code: object = "-", size: object = "-") -> None:
        """Nothing."""


class Server(ThreadingHTTPServer):
    """A web server that asks nobody for its own name."""

    request_queue_size = 256

    def server_bind(self) -> None:
        """As TCPServer does."""
        TCPServer.server_bind(self)


def main(folder: str, port: str, *addresses: str) -> None:
    """Serves until it is killed."""
    Answers.folder = Path(folder)
    for address in addresses:
        server = Server((address, int(port)), Answers)
        threading.Thread(target=server.serve_forever, daemon=True).start()
    print("serving", flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    main(*sys.argv[1:])
