"""How a command ends when it is told to: in time, in every state, and with one line.

A signal is noticed by a thread that reads the interpreter's wake-up pipe. So it counts also where a library has put a handler of
its own in place (Prefect does), or where the main thread waits for a server that is gone.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from types import FrameType
from typing import NoReturn

import psutil

#: Seconds that a command has for an orderly end.
GRACE = 15.0
_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_RESUMES = "the same command resumes where this one stopped."


class Ending:
    """Whether the command was told to end, and by which signal.

    Attributes
    ----------
    signal : int or None
        The first signal.
    """

    def __init__(self) -> None:
        self.signal: int | None = None

    @property
    def code(self) -> int:
        """Exit code: 130 after SIGINT, 143 after SIGTERM."""
        return 128 + (self.signal or signal.SIGINT)

    @property
    def line(self) -> str:
        """What the user reads."""
        return f"{'terminated' if self.signal == signal.SIGTERM else 'interrupted'}: {_RESUMES}\n"

    def watch(self, pipe: socket.socket) -> None:
        """Read signals until the pipe is closed: the first starts the clock, the second ends the process at once."""
        count = 0
        with contextlib.suppress(OSError):
            while numbers := pipe.recv(1):
                if numbers[0] not in _SIGNALS:
                    continue
                self.signal = self.signal or numbers[0]
                count += 1
                if count > 1:
                    self.end_now()
                clock = threading.Timer(GRACE, self.end_now)
                clock.daemon = True
                clock.start()

    def interrupt(self, number: int, _frame: FrameType | None) -> None:
        """Handle a signal as Python handles SIGINT."""
        self.signal = self.signal or number
        raise KeyboardInterrupt

    def leave(self) -> NoReturn:
        """Exit with one line, in place of whatever error the signal led to."""
        sys.stderr.write(self.line)
        sys.exit(self.code)

    def end_now(self) -> None:
        """End this process and those that it started for the run; the Prefect server, which others use too, stays."""
        sys.stderr.write(self.line)
        sys.stderr.flush()
        session = os.getsid(0)
        for child in psutil.Process().children(recursive=True):
            with contextlib.suppress(psutil.Error, ProcessLookupError):
                if os.getsid(child.pid) == session:
                    child.kill()
        os._exit(self.code)


@contextlib.contextmanager
def listening() -> Iterator[Ending]:
    """Notice SIGINT and SIGTERM for the length of the block; both raise KeyboardInterrupt in the main thread."""
    ending = Ending()
    if threading.current_thread() is not threading.main_thread():
        yield ending
        return
    reader, writer = socket.socketpair()
    writer.setblocking(False)
    wakeup = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    # what the parent process has told to ignore stays ignored
    handled = {number: signal.getsignal(number) for number in _SIGNALS}
    for number, handler in handled.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, ending.interrupt)
    threading.Thread(target=ending.watch, args=(reader,), daemon=True).start()
    try:
        yield ending
    finally:
        if ending.signal is None:  # else the clock runs on: what Python does at its end must not take for ever
            signal.set_wakeup_fd(wakeup)
            for number, handler in handled.items():
                signal.signal(number, handler)
            writer.close()
