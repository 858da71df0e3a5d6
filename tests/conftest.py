"""One thread a process: the suite runs two processes at once, on tiny models."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported, and for subprocesses
