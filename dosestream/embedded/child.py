"""Becomes another program that does not outlive its parent: `python -I -S child.py OPTIONS -- ARGV`.

Run as a script, so that nothing of the package is imported: between fork and exec only this file runs.

--parent PID     leave at once where the parent is already gone
--signal N       what the system sends when the parent dies, by kill -9 too (Linux: PR_SET_PDEATHSIG)
--user UID:GID   become this account first
--open PATH      open PATH before that; `{0}`, `{1}`... in ARGV stand for the first, second... one, reachable
                 for the account even where the folders above are closed to it
"""

import os
import sys

PR_SET_PDEATHSIG = 1


def main(arguments: list[str]) -> None:
    """Take the options, then become ARGV; returns never."""
    cut = arguments.index("--")
    options, argv = arguments[:cut], arguments[cut + 1 :]
    parent, death_signal, user = 0, 0, ""
    opened: list[str] = []
    for name, value in zip(options[::2], options[1::2], strict=True):
        if name == "--parent":
            parent = int(value)
        elif name == "--signal":
            death_signal = int(value)
        elif name == "--user":
            user = value
        elif name == "--open":
            descriptor = os.open(value, os.O_RDONLY)
            os.set_inheritable(descriptor, True)
            opened.append(f"/proc/self/fd/{descriptor}")
    # Before the change of account: the new one may not reach Python's own files.
    prctl = None
    if sys.platform == "linux" and death_signal:
        import ctypes

        prctl = ctypes.CDLL(None).prctl
    if user:
        uid, gid = map(int, user.split(":"))
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)
        os.environ["HOME"] = "/"
        os.chdir("/")
    # After the change of account, which clears it.
    if prctl is not None:
        prctl(PR_SET_PDEATHSIG, death_signal, 0, 0, 0)
    if parent and os.getppid() != parent:
        os._exit(0)
    for number, path in enumerate(opened):
        argv = [argument.replace(f"{{{number}}}", path) for argument in argv]
    os.execv(argv[0], argv)


if __name__ == "__main__":
    main(sys.argv[1:])
