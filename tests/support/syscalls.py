"""Make the kernel refuse a system call to this process and its children (Linux, seccomp)."""

import ctypes
import os
import platform

NUMBERS = {
    "x86_64": {"flock": 73, "fsync": 74},
    "aarch64": {"flock": 32, "fsync": 82},
}
NO_NEW_PRIVILEGES, SECCOMP, FILTER = 38, 22, 2  # <linux/prctl.h>, <linux/seccomp.h>
LOAD, JUMP_IF_EQUAL, RETURN = 0x20, 0x15, 0x06  # <linux/bpf_common.h>
ERRNO, ALLOW = 0x00050000, 0x7FFF0000


class Instruction(ctypes.Structure):
    _fields_ = (
        ("code", ctypes.c_ushort),
        ("if_true", ctypes.c_ubyte),
        ("if_false", ctypes.c_ubyte),
        ("value", ctypes.c_uint),
    )


class Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.POINTER(Instruction)))


def refuse(name: str, error: int) -> None:
    """From here on the system call `name` fails with `error`, for good: call it in a child."""
    number = NUMBERS[platform.machine()][name]
    instructions = (Instruction * 4)(
        (LOAD, 0, 0, 0),  # the call's number
        (JUMP_IF_EQUAL, 0, 1, number),
        (RETURN, 0, 0, ERRNO | error),
        (RETURN, 0, 0, ALLOW),
    )
    libc = ctypes.CDLL(None, use_errno=True)
    program = ctypes.byref(Program(len(instructions), instructions))
    for arguments in ((NO_NEW_PRIVILEGES, 1, 0, 0, 0), (SECCOMP, FILTER, program, 0, 0)):
        if libc.prctl(*arguments):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), "prctl")
