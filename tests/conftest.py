"""One thread a process: the suite runs two processes at once, on tiny models."""

import os
import signal

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported, and for subprocesses
# A shell's background jobs ignore Ctrl-C, and what they start does too; the tests send it.
signal.signal(signal.SIGINT, signal.default_int_handler)
