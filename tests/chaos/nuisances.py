"""Clients that are no clients: slow, half-open, endless, idle. The gateway owes them nothing; others must not notice.

One thread drives them all. Connections vanish without a FIN where the system allows it (TCP_REPAIR, as root); elsewhere
they are left open and silent, which looks the same until the other side speaks.
"""

import random
import socket
import threading
import time

TCP_REPAIR = 19
HEAD = b"POST /request-upload HTTP/1.1\r\nhost: gateway\r\ncontent-type: application/json\r\n"


class Nuisances(threading.Thread):
    """Opens and feeds connections to these ports until it is told to end."""

    def __init__(self, seed, ports, kinds, idle=0):
        super().__init__(name="nuisances", daemon=True)
        self.chance = random.Random(f"{seed} nuisances")
        self.ports, self.kinds, self.idle = ports, kinds, idle
        self.ending = threading.Event()
        self.idlers, self.opened, self.vanished, self.most_idle = [], 0, 0, 0

    def run(self):
        self.open_idle()
        slow = []
        while not self.ending.wait(0.05):
            if self.kinds and len(slow) < 30:
                slow.append((self.chance.choice(self.kinds), self.connect(), time.monotonic()))
            slow = [one for one in slow if self.feed(*one)]
        for _, connection, _ in slow:
            if connection:
                connection.close()
        for connection in self.idlers:
            connection.close()

    def end(self):
        self.ending.set()
        self.join(30)

    def connect(self):
        try:
            connection = socket.create_connection(("127.0.0.1", self.chance.choice(self.ports)), timeout=2)
            connection.setblocking(False)
            self.opened += 1
            return connection
        except OSError:
            return None

    def open_idle(self):
        """Many connections to one node, which say nothing. Opened without waiting for each."""
        port = self.ports[-1]
        while self.idle > len(self.idlers) and not self.ending.is_set():
            for _ in range(min(100, self.idle - len(self.idlers))):
                connection = socket.socket()
                connection.setblocking(False)
                connection.connect_ex(("127.0.0.1", port))
                self.idlers.append(connection)
            time.sleep(0.02)
        self.most_idle = sum(1 for connection in self.idlers if is_open(connection))

    def feed(self, kind, connection, since):
        """A little more on one connection; False where it is over."""
        if connection is None:
            return False
        try:
            if kind == "slow":  # A header in pieces.
                connection.send(HEAD[: self.chance.randrange(1, 8)])
            elif kind == "endless":  # A body that never ends, in chunks of one byte.
                if time.monotonic() - since < 0.1:
                    connection.send(HEAD + b"transfer-encoding: chunked\r\n\r\n")
                connection.send(b"1\r\nx\r\n")
            elif kind == "halfOpen":
                connection.send(HEAD[:40])
                self.vanish(connection)
                return False
        except OSError:
            connection.close()
            return False
        if time.monotonic() - since > 6:
            connection.close()
            return False
        return True

    def vanish(self, connection):
        """Closes without telling the other side, as a machine that loses its power."""
        try:
            connection.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR, 1)
            connection.close()
            self.vanished += 1
        except OSError:
            self.idlers.append(connection)


def is_open(connection):
    try:
        return connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) != b""
    except BlockingIOError:
        return True
    except OSError:
        return False
