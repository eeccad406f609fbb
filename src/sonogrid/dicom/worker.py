"""Compressed frames decoded in a process of its own, because decoders are native code fed with foreign bytes.

Every thread that asks has one process, which lives as long as the thread. Too much time, too much memory or a crash
end the process and are an error of that frame alone. Frames, arrays and JSON go through a pipe; nothing is pickled.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import threading
import weakref
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
import numpy.typing as npt

from sonogrid.dicom import messages
from sonogrid.dicom.allowance import DECODER_BYTES, DECODER_SECONDS
from sonogrid.dicom.decode import decode
from sonogrid.dicom.form import Codec
from sonogrid.dicom.header import DAMAGE, DamageError, silence
from sonogrid.dicom.limits import MAX_FRAME_BYTES

_of_thread = threading.local()


def decode_apart(syntax: str, codec: Codec, frame: bytes, options: dict[str, Any]) -> npt.NDArray[Any]:
    """As sonogrid.dicom.decode.decode, but apart. Raises DamageError if that fails, crashes or takes too long."""
    worker: _Worker | None = getattr(_of_thread, "worker", None)
    if worker is None or not worker.alive:
        worker = _of_thread.worker = _Worker()
    return worker.ask({"syntax": syntax, "codec": codec, "options": options}, frame)


class _Worker:
    """The parent's end of one decoding process."""

    def __init__(self) -> None:
        self._connection, theirs = Pipe()
        command = [sys.executable, "-P", "-m", "sonogrid.dicom.worker", str(theirs.fileno())]
        # One thread: a pool of threads would take its stacks out of the process's address space.
        alone = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        with theirs:
            self.process = subprocess.Popen(
                command,
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                # What decoders and pydicom say there could quote the file.
                stderr=subprocess.DEVNULL,
                env=os.environ | alone,
            )
        self._owner = os.getpid()
        self._end = weakref.finalize(self, _end, self.process, self._connection)

    @property
    def alive(self) -> bool:
        """Whether it can be asked; not from a copy of this process, which would share the pipe."""
        return self._end.alive and self._owner == os.getpid()

    def ask(self, request: dict[str, Any], frame: bytes) -> npt.NDArray[Any]:
        try:
            self._connection.send_bytes(json.dumps(request).encode())
            self._connection.send_bytes(frame)
            if not self._connection.poll(DECODER_SECONDS):
                self._end()
                raise DamageError(messages.slow_frame(DECODER_SECONDS))
            answer = json.loads(self._connection.recv_bytes())
            if answer is None:
                raise DamageError(messages.DAMAGED_FRAME)
            pixels = np.frombuffer(self._connection.recv_bytes(), dtype=answer["dtype"])
            return pixels.reshape(answer["shape"])
        except (EOFError, OSError) as error:
            self._end()
            raise DamageError(messages.BREAKS_DECODER) from error


def _end(process: subprocess.Popen[bytes], connection: Connection) -> None:
    connection.close()
    process.kill()
    process.wait()


def _serve(connection: Connection) -> None:
    """Answer requests until the parent is gone."""
    silence()
    while True:
        try:
            request = json.loads(connection.recv_bytes())
            frame = connection.recv_bytes(MAX_FRAME_BYTES)
        except EOFError:
            return
        try:
            pixels = np.ascontiguousarray(decode(request["syntax"], request["codec"], frame, request["options"]))
        except DAMAGE:
            connection.send_bytes(b"null")
            continue
        connection.send_bytes(json.dumps({"dtype": pixels.dtype.str, "shape": pixels.shape}).encode())
        connection.send_bytes(pixels.data.cast("B"))


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_AS, (DECODER_BYTES, DECODER_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _serve(Connection(int(sys.argv[1])))
