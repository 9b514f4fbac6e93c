"""A plain client that sends an exact number of requests: what wrk cannot do, for counting instructions and for curves."""

import http.client
import sys
import threading


def read_requests(requests):
    """Method, path, headers and body of each line of a file that `load.Requests` has written."""
    found = []
    for line in requests.path.read_text().splitlines():
        method, path, token, body = line.split("\t")
        headers = {"Authorization": f"Bearer {token}"}
        if body:
            headers["Content-Type"] = "application/json"
        found.append((method, path, headers, body.encode() or None))
    return found


def send(server, requests, count, connections=1, start=0):
    """`count` requests, taken in turn beginning with number `start`, over so many connections; exits where one is not
    answered with 2xx."""
    wanted, failed = read_requests(requests), []

    def work(first):
        connection = http.client.HTTPConnection(server.address, timeout=120)
        try:
            for at in range(first, count, connections):
                method, path, headers, body = wanted[(start + at) % len(wanted)]
                connection.request(method, path, body, headers)
                answer = connection.getresponse()
                text = answer.read()
                if answer.status // 100 != 2:
                    failed.append(f"{answer.status}: {text.decode()}")
                    return
        except OSError as error:
            failed.append(str(error))
        finally:
            connection.close()

    threads = [threading.Thread(target=work, args=(first,)) for first in range(connections)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        sys.exit(f"error: {server.name}: {failed[0]}; see {server.log}")
