"""Two network devices in namespaces, joined by a process that passes packets on after a delay (Linux, root).

The kernel's own delays, ``netem``, are not in every kernel; this is a cable of a certain length instead.
"""

from __future__ import annotations

import fcntl
import os
import select
import struct
import sys
import time
from collections import deque

_SET_INTERFACE = 0x400454CA
_IP_PACKETS, _NO_HEADER = 0x0001, 0x1000
_LARGEST_PACKET = 65_536


def main(delay_s: float, names: list[str]) -> None:
    """Makes two devices of these names, says so by a line, and passes packets from each to the other until ended."""
    ends = [_device(name) for name in names]
    print("ready", flush=True)
    waiting: tuple[deque[tuple[float, bytes]], ...] = (deque(), deque())
    while True:
        due = min((queue[0][0] for queue in waiting if queue), default=None)
        timeout = None if due is None else max(0.0, due - time.monotonic())
        for end in select.select(ends, (), (), timeout)[0]:
            _take(end, waiting[ends.index(end)], delay_s)
        now = time.monotonic()
        for queue, other in zip(waiting, reversed(ends), strict=True):
            while queue and queue[0][0] <= now:
                try:
                    os.write(other, queue.popleft()[1])
                except OSError:  # the other end is not up yet: the packet is lost, as on a cable
                    continue


def _take(end: int, queue: deque[tuple[float, bytes]], delay_s: float) -> None:
    while True:
        try:
            packet = os.read(end, _LARGEST_PACKET)
        except OSError:  # no more, or not up
            return
        queue.append((time.monotonic() + delay_s, packet))


def _device(name: str) -> int:
    end = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(end, _SET_INTERFACE, struct.pack("16sH", name.encode(), _IP_PACKETS | _NO_HEADER))
    return end


if __name__ == "__main__":
    main(float(sys.argv[1]), sys.argv[2:])
