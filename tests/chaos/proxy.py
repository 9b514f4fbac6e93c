"""What lies between the gateway and LocalStack: a plain TCP proxy that can be cut.

LocalStack keeps objects in memory alone, so that killing it would lose what no storage loses. Instead its connections
are cut here, in the middle of whatever they carry, and new ones refused: a storage that went away looks like that.
Upload and download URLs name the proxy too, so that clients meet the same outage. Run as a program of its own:

    proxy.py PORT UPSTREAM      SIGUSR1 cuts and refuses, SIGUSR2 lets through again
"""

import asyncio
import signal
import socket
import sys

CHUNK = 64 * 1024


class Proxy:
    def __init__(self, port, upstream):
        self.port, self.upstream = port, upstream
        self.server, self.writers = None, set()

    async def open(self):
        if self.server is None:
            self.server = await asyncio.start_server(self.serve, "127.0.0.1", self.port, backlog=512)

    def cut(self):
        if self.server is not None:
            self.server.close()
            self.server = None
        for writer in list(self.writers):
            writer.transport.abort()

    async def serve(self, reader, writer):
        self.writers.add(writer)
        try:
            there, back = await asyncio.open_connection("127.0.0.1", self.upstream)
        except OSError:
            writer.transport.abort()
            self.writers.discard(writer)
            return
        self.writers.add(back)
        for end in (writer, back):
            end.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await asyncio.gather(pump(reader, back), pump(there, writer))
        self.writers -= {writer, back}


async def pump(reader, writer):
    try:
        while chunk := await reader.read(CHUNK):
            writer.write(chunk)
            await writer.drain()
        writer.write_eof()
    except (OSError, RuntimeError):
        writer.transport.abort()


async def main(port, upstream):
    proxy = Proxy(port, upstream)
    await proxy.open()
    loop = asyncio.get_running_loop()
    tasks = set()

    def reopen():
        task = loop.create_task(proxy.open())
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    loop.add_signal_handler(signal.SIGUSR1, proxy.cut)
    loop.add_signal_handler(signal.SIGUSR2, reopen)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), int(sys.argv[2])))
