"""An exception that nobody catches, amid the body of a response."""

import socket
import threading
import urllib.request

import side  # noqa: F401 - it starts the library

listener = socket.create_server(("127.0.0.1", 0))


def serve():
    connection, _ = listener.accept()
    connection.recv(65536)
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf ")
    threading.Event().wait()


threading.Thread(target=serve, daemon=True).start()
response = urllib.request.urlopen(f"http://127.0.0.1:{listener.getsockname()[1]}/")
assert response.read(5) == b"half "
raise LookupError("amid the response")
