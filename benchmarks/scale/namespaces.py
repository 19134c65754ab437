"""Hosts on one machine: network namespaces with addresses of their own, and links of a certain speed (Linux, root)."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass

from benchmarks.scale.running import PROJECT, environment_of

__all__ = ["DEVICE", "Cable", "address_of", "hosts", "why_not"]

DEVICE = "wire"
"""Name of each host's network device."""

_BUCKET_BYTES = 64_000


@dataclass(frozen=True)
class Cable:
    """What joins the hosts.

    Attributes:
        megabits_per_s: to which ``tc tbf`` limits what each host sends; None: it is not limited.
        delay_ms: for which a relay keeps each packet, between two hosts; 0: there is none.
    """

    megabits_per_s: int | None = None
    delay_ms: float = 0.0

    def __str__(self) -> str:
        limits = [] if self.megabits_per_s is None else [f"{self.megabits_per_s:,} Mbit/s"]
        return ", ".join([*limits, *([f"{self.delay_ms:g} ms each way"] if self.delay_ms else [])]) or "not limited"


def why_not() -> str | None:
    """Returns why no hosts can be made here; None: they can."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "network namespaces are made by root, on Linux"
    missing = [name for name in ("ip", "tc") if shutil.which(name, path=_PATH) is None]
    if missing:
        return f"{' and '.join(missing)} cannot be found; the package iproute2 has both"
    try:
        with hosts(2, Cable(megabits_per_s=100)):
            return None
    except subprocess.CalledProcessError as error:
        return f"{' '.join(error.cmd)} failed: {error.stderr.strip()}"


def address_of(number: int) -> str:
    """Returns the address of a host, which are numbered from 0."""
    return f"10.213.0.{number + 1}"


@contextlib.contextmanager
def hosts(number: int, cable: Cable) -> Iterator[list[list[str]]]:
    """Makes so many hosts for a while, and yields for each the command that runs a command on it.

    Nothing is left of them, whatever ends the block, a signal to end included.

    Raises:
        subprocess.CalledProcessError: if they cannot be made.
    """
    names = [f"recoder-{os.getpid()}-{host}" for host in range(number)]
    switch = f"recoder-{os.getpid()}-switch"
    with contextlib.ExitStack() as stack:
        stack.enter_context(_interrupted_by_sigterm())
        for name in [*names, switch]:
            stack.callback(_run_quietly, "netns", "del", name)
            _ip("netns", "add", name)
        if cable.delay_ms:
            stack.enter_context(_relay(names, cable.delay_ms))
        else:
            _wire(names, switch)
        for host, name in enumerate(names):
            _ip("-n", name, "addr", "add", f"{address_of(host)}/24", "dev", DEVICE)
            for device in ("lo", DEVICE):
                _ip("-n", name, "link", "set", device, "up")
            if cable.megabits_per_s is not None:
                _limit(name, cable.megabits_per_s)
        yield [["ip", "netns", "exec", name] for name in names]


def _wire(names: list[str], switch: str) -> None:
    """Gives each host a device whose other end is at a switch."""
    _ip("-n", switch, "link", "add", "switch", "type", "bridge")
    _ip("-n", switch, "link", "set", "switch", "up")
    for host, name in enumerate(names):
        end = f"port{host}"
        _ip("-n", name, "link", "add", DEVICE, "type", "veth", "peer", "name", end, "netns", switch)
        _ip("-n", switch, "link", "set", end, "master", "switch", "up")


@contextlib.contextmanager
def _relay(names: list[str], delay_ms: float) -> Iterator[None]:
    """Gives two hosts a device each, between which a process passes packets on after a delay."""
    ends = [f"rec{os.getpid()}{letter}" for letter in "ab"]
    with subprocess.Popen(
        [sys.executable, "-m", "benchmarks.scale.delay", str(delay_ms / 1e3), *ends],
        cwd=PROJECT,
        env=environment_of({}),
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None  # a pipe was asked for
            process.stdout.readline()
            for end, name in zip(ends, names, strict=True):
                _ip("link", "set", end, "netns", name, "name", DEVICE)
                # large packets, so that the relay has few to pass; a limit's bucket must hold one
                _ip("-n", name, "link", "set", DEVICE, "mtu", str(_BUCKET_BYTES // 2))
            yield
        finally:
            process.kill()


def _limit(name: str, megabits_per_s: int) -> None:
    # a bucket of a millisecond, or what the kernel hands over at once: what is sent at full speed after a pause
    burst = max(_BUCKET_BYTES, megabits_per_s * 1_000 // 8)
    limits = ["rate", f"{megabits_per_s}mbit", "burst", str(burst), "latency", "100ms"]
    _run("tc", "-n", name, "qdisc", "add", "dev", DEVICE, "root", "tbf", *limits)


_PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])


def _ip(*arguments: str) -> None:
    _run("ip", *arguments)


def _run(*command: str) -> None:
    environment = {**os.environ, "PATH": _PATH}
    subprocess.run(command, check=True, capture_output=True, text=True, env=environment)


def _run_quietly(*arguments: str) -> None:
    with contextlib.suppress(subprocess.CalledProcessError):
        _ip(*arguments)


@contextlib.contextmanager
def _interrupted_by_sigterm() -> Iterator[None]:
    """Turns a signal to end into an exception, so that what must be undone is."""

    def interrupt(number: int, frame: object) -> None:
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
