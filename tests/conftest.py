"""One thread a process: the suite runs two processes at once, on tiny models."""

import os
import signal

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported, and for subprocesses
# A shell's background jobs ignore Ctrl-C, and what they start does too; the tests send it.
signal.signal(signal.SIGINT, signal.default_int_handler)

from hypothesis import settings  # noqa: E402 - after the number of threads is set

# Time is measured by no property; a busy machine is slow.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")
