"""A command ``recoder`` that need not import PyTorch, which takes seconds: it runs in a fork of a server that has.

The command is a script of a few lines: it hands its arguments, folder, environment and its three streams to the server,
and ends with the exit code that comes back. So pipes and redirections of a shell mean what they always do; signals
that the script gets are not passed on.
"""

from __future__ import annotations

import atexit
import json
import os
import select
import signal
import socket
import subprocess
import sys
import traceback
from pathlib import Path

__all__ = ["Server"]

_COMMAND = """\
#!{python} -IS
import json, os, socket, sys
with socket.socket(socket.AF_UNIX) as connection:
    connection.connect({address!r})
    asked = json.dumps([sys.argv[1:], os.getcwd(), dict(os.environ)]).encode()
    socket.send_fds(connection, [len(asked).to_bytes(8, "big")], [0, 1, 2])
    connection.sendall(asked)
    answer = connection.recv(1)
sys.exit(answer[0] if answer else 70)
"""


class Server:
    """Starts the server, and leaves the command in a folder.

    Args:
        folder: an empty one.
    """

    def __init__(self, folder: Path) -> None:
        address = folder / "server"
        command = folder / "recoder"
        command.write_text(_COMMAND.format(python=sys.executable, address=str(address)))
        command.chmod(0o755)
        # it ends when this process does, and closes what it holds of the pipe
        self._process = subprocess.Popen(
            [sys.executable, __file__, address],
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == b"ready\n"
        self._process.stdout.close()

    def stop(self) -> None:
        """Ends the server."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


def serve(address: str) -> None:
    """Answers until nobody holds the other end of stdin."""
    import recoder.cli.app
    import recoder.model  # noqa: F401

    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for what has answered
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(address)
        listening.listen()
        os.write(1, b"ready\n")
        while True:
            asked, _, _ = select.select([0, listening], [], [])
            if 0 in asked:
                return
            connection, _ = listening.accept()
            if os.fork() == 0:
                listening.close()
                _run(connection)
            connection.close()


def _run(connection: socket.socket) -> None:
    """Runs the command that is asked for, and ends this process."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    head, streams, _, _ = socket.recv_fds(connection, 8, 3)
    body = bytearray()
    while len(body) < int.from_bytes(head, "big"):
        block = connection.recv(1 << 16)
        if not block:  # who asked is gone
            os._exit(1)
        body += block
    arguments, folder, environment = json.loads(body)
    for stream, given in enumerate(streams):
        os.dup2(given, stream)
        os.close(given)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["recoder", *arguments]
    code = _exit_code()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    connection.sendall(bytes([code]))
    os._exit(code)


def _exit_code() -> int:
    from recoder.cli import main

    try:
        main()
    except SystemExit as end:
        if end.code is None or isinstance(end.code, int):
            return end.code or 0
        sys.stderr.write(f"{end.code}\n")
        return 1
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


if __name__ == "__main__":
    serve(sys.argv[1])
