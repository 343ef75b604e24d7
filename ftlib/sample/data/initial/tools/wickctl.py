"""The keeper's command line."""

import socket
import sys


def send(*words: str) -> None:
    with socket.create_connection(("localhost", 6112)) as bus:
        bus.sendall((" ".join(words) + "\n").encode())


COMMANDS = {
    "status": lambda lock: send("lock.status", lock),
}

COMMANDS[sys.argv[1]](*sys.argv[2:])
