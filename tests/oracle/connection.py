"""One connection to a broker: bytes out, whole frames in, and which requests wait for their answers."""

import socket
import struct

ANSWER_SECONDS = 5


class NoAnswer(Exception):
    """The broker has closed the connection, or says nothing."""


class Connection:
    """Opened when something is sent. It bears the name that its client gives itself."""

    def __init__(self, address, client_id):
        self.address = address
        self.client_id = client_id
        self.socket = None
        # (kind, version, correlation id) of what was asked and is not heard yet.
        self.pending = []

    def connect(self):
        self.close()
        self.socket = socket.create_connection(self.address, ANSWER_SECONDS)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def close(self):
        self.pending.clear()
        if self.socket:
            self.socket.close()
            self.socket = None

    def send(self, data):
        if self.socket is None:
            self.connect()
        try:
            self.socket.sendall(data)
        except (ConnectionResetError, BrokenPipeError) as error:
            raise NoAnswer("closed") from error

    def end(self):
        """No more will be sent."""
        self.socket.shutdown(socket.SHUT_WR)

    def receive(self):
        """One answer without its length."""
        try:
            return self.exactly(struct.unpack(">i", self.exactly(4))[0])
        except ConnectionResetError as error:
            raise NoAnswer("closed") from error
        except TimeoutError as error:
            raise NoAnswer("silent") from error

    def exactly(self, count):
        data = b""
        while len(data) < count:
            part = self.socket.recv(count - len(data))
            if not part:
                raise NoAnswer("closed")
            data += part
        return data

    def is_quiet(self, seconds):
        """Whether nothing comes for so long."""
        self.socket.settimeout(seconds)
        try:
            return not self.socket.recv(1, socket.MSG_PEEK)
        except TimeoutError:
            return True
        finally:
            self.socket.settimeout(ANSWER_SECONDS)
