"""seccomp.py PROFILE COMMAND… : become COMMAND under a seccomp profile in Docker's format, as an engine would have it.

Runs inside, so it imports nothing that is not there: libseccomp comes with apt.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys
from pathlib import Path
from typing import Any

ACTIONS = {"SCMP_ACT_ALLOW": 0x7FFF0000, "SCMP_ACT_ERRNO": 0x00050000}


def load(profile: dict[str, Any]) -> int:
    """Returns how many system calls are named that this kernel's architecture has."""
    lib = ctypes.CDLL("libseccomp.so.2", use_errno=True)
    lib.seccomp_init.restype = ctypes.c_void_p
    context = ctypes.c_void_p(
        lib.seccomp_init(ctypes.c_uint32(ACTIONS[str(profile["defaultAction"])] | int(str(profile.get("defaultErrnoRet", 0)))))
    )
    rules = 0
    for rule in profile["syscalls"]:
        action = ACTIONS[rule["action"]] | rule.get("errnoRet", 0)
        for name in rule["names"]:
            number = lib.seccomp_syscall_resolve_name(name.encode())
            if number >= 0:
                rules += 1
                if lib.seccomp_rule_add(context, ctypes.c_uint32(action), ctypes.c_int(number), ctypes.c_uint(0)):
                    sys.exit(f"seccomp: no rule for {name}")
    if lib.seccomp_load(context):
        sys.exit("seccomp: the profile cannot be loaded")
    return rules


if __name__ == "__main__":
    if load(json.loads(Path(sys.argv[1]).read_text())) < 10:
        sys.exit("seccomp: the profile names hardly any system call of this machine")
    os.execvp(sys.argv[2], sys.argv[2:])
