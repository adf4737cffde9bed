"""The load balancer: one HAProxy, master and worker, for all rules of the router.

A new or a leaving member is told to the running process: no reload, no counter begins again, no connection ends. A member
that leaves keeps the connections that it has and is deleted after the last of them (`tend`, asked by the router's watch).
Any other change is a reload: the configuration is checked first, the new worker gets the open sockets from the old one, so
that no connection is refused, the state of checks by a file and stick tables over the peers; the old worker ends with its
last connection. When the check or the reload fails, what ran before stays, on disk too.

The worker is the user haproxy in an empty folder; only the master, which carries nothing, may read keys. They lie in /run,
which is memory. A change of members is written to the configuration as well: it is what the next process begins with.

Another incarnation of the router in the same network namespace (a container's) serves at the same doors from when it is
staged, by SO_REUSEPORT; the one that rests takes nothing new, teaches its tables to the other over the peers' port, which
they share, too, and ends with its last connection.

HAProxy teaches tables only when it has been taught itself or is older than about ten seconds; two reloads within the first
ten seconds of its life lose them, nothing else.

Races: HAProxy may die between a question and the next. That is an error of this step; s6 has started it by the next one.
"""

import os
import shutil
import socket
import time
from collections.abc import Hashable
from pathlib import Path

from sysvm.agent.command import CommandFailed, finish
from sysvm.agent.paths import Paths
from sysvm.agent.roles.router import balancing, haproxy_socket
from sysvm.agent.roles.router.balancing import CERTIFICATES, LISTS, Config, Section
from sysvm.agent.roles.router.haproxy_socket import NoAnswer, ServerSeen
from sysvm.agent.supervision import Daemon, Supervision, write_if_changed
from sysvm.wire.balancing import MemberSeen
from sysvm.wire.channel import ServiceSeen
from sysvm.wire.documents import RouterDocument

_ATTEMPTS, _PAUSE = 250, 0.02
_MOST_THREADS = 4


class Haproxy:
    """The service."""

    name = "haproxy"

    def __init__(self, paths: Paths, supervision: Supervision) -> None:
        self._folder = paths.run / "haproxy"
        self._socket = self._folder / "control.sock"
        self._config = self._folder / "haproxy.cfg"
        self._supervision = supervision
        self._threads = min(len(os.sched_getaffinity(0)), _MOST_THREADS)
        self._wanted: Config | None = None
        self._retired = False

    def render(self, document: RouterDocument) -> Config | None:
        """The configuration. Raises Wrong."""
        return balancing.render(document.balancing, str(self._folder))

    def stage(self, rendering: Config | None) -> None:
        """Serves beside the other incarnation's HAProxy, so that no door is shut when that one rests; where an address is
        not there yet, HAProxy says whether it would take the configuration. Raises CommandFailed or OSError."""
        if rendering is None or not _shut_door(rendering):
            self.apply(rendering)
            return
        self._prepare(rendering)
        self._checked(rendering.text(str(self._folder), self._threads)).unlink()

    def apply(self, rendering: Config | None) -> None:
        """By commands where the frame stays, else by a reload. Raises CommandFailed or OSError."""
        if self._retired:  # it serves again after all; what ends cannot begin anew, so it ends now
            self._end()
        if rendering is None:
            self._wanted = None
            self._supervision.remove(self.name)
            shutil.rmtree(self._folder, ignore_errors=True)
            return
        self._prepare(rendering)
        text = rendering.text(str(self._folder), self._threads)
        if self._is_framed(rendering) and self._move_members(rendering):
            write_if_changed(self._config, text.encode(), 0o600)
        else:
            self._reload(rendering, text)
        self._wanted = rendering
        self._tidy(rendering)

    def difference(self, rendering: Config | None) -> str:
        """Files, the process, the configuration that it says it has, and its members."""
        if rendering is None:
            return "HAProxy runs" if self._supervision.pid(self.name) or self._folder.exists() else ""
        wanted = dict(rendering.files)
        wanted["haproxy.cfg"] = rendering.text(str(self._folder), self._threads)
        for name, text in wanted.items():
            if self._read(name) != text:
                return f"the file {name} differs"
        if not self._supervision.pid(self.name):
            return "HAProxy does not run"
        try:
            if haproxy_socket.frame(self._socket) != rendering.frame:
                return "HAProxy runs with another configuration"
            return _differing(rendering, self._seen())
        except NoAnswer as error:
            return str(error)

    def fingerprint(self) -> Hashable:
        """The process, the times of the files, and the members without their health."""
        if not self._folder.exists():
            return self._supervision.pid(self.name)
        places = (self._config, self._folder / LISTS, self._folder / CERTIFICATES)
        times = [place.stat().st_mtime_ns for place in places if place.exists()]
        try:
            seen = frozenset((each.section, each.name, each.at, each.works, each.checked) for each in self._seen())
        except NoAnswer:
            seen = frozenset()
        return self._supervision.pid(self.name), seen, *times

    def daemons(self) -> tuple[ServiceSeen, ...]:
        """HAProxy's master."""
        return (self._supervision.seen(self.name),) if self._folder.exists() else ()

    def stop(self) -> None:
        """Ends HAProxy with its connections."""
        self._end()

    def rest(self) -> None:
        """Takes no new connections; the process ends with the last of those that it has, and teaches its tables before."""
        self._wanted = None
        if self._supervision.pid(self.name):
            self._supervision.retire(self.name, "SIGUSR1")
            self._retired = True

    def show(self, rendering: Config | None) -> None:
        """Members that did not answer while nobody could be reached are taken for well until a check says otherwise."""
        if rendering is None:
            return
        try:
            for each in self._seen():
                if each.works and not each.up:
                    haproxy_socket.revive(self._socket, each.section, each.name)
        except NoAnswer as error:
            raise CommandFailed(self.name, str(error)) from error

    def carries(self) -> bool:
        """Whether it rests and has not ended yet."""
        return self._retired and bool(self._supervision.pid(self.name))

    def tend(self) -> tuple[MemberSeen, ...]:
        """Forgets members whose last connection has ended; says how the others are."""
        if self._wanted is None:
            return ()
        try:
            seen = self._seen()
            wanted = {section.name: section for section in self._wanted.sections}
            for each in seen:
                if not each.works and each.name not in _names(wanted.get(each.section)):
                    haproxy_socket.forget(self._socket, each.section, each.name)
        except NoAnswer:
            return ()
        return tuple(
            MemberSeen(rule=wanted[each.section].rule, address=each.at.partition(":")[0], up=each.up)
            for each in seen
            if each.name in _names(wanted.get(each.section))
        )

    def _end(self) -> None:
        """At once: one that rests would wait for its last connection."""
        if self.carries():
            self._supervision.ensure(Daemon(self.name, self._script()))  # with the signal that ends it
        self._retired = False
        self._supervision.stop(self.name)

    # ------------------------------------------------------------ members
    def _seen(self) -> tuple[ServerSeen, ...]:
        return haproxy_socket.servers(haproxy_socket.state(self._socket))

    def _is_framed(self, rendering: Config) -> bool:
        try:
            return bool(self._supervision.pid(self.name)) and haproxy_socket.frame(self._socket) == rendering.frame
        except NoAnswer:
            return False

    def _move_members(self, rendering: Config) -> bool:
        """The running process has these members; False when only a reload can do that."""
        there = {(each.section, each.name): each for each in self._seen()}
        for section in rendering.sections:
            for name, at in section.members:
                held = there.pop((section.name, name), None)
                if held is None and (section.cookies or self._add(section, name, at)):
                    return False
                if held is not None and not (held.works and held.checked):
                    haproxy_socket.employ(self._socket, section.name, name)
        for section_name, name in there:
            haproxy_socket.dismiss(self._socket, section_name, name)
            haproxy_socket.forget(self._socket, section_name, name)
        return True

    def _add(self, section: Section, name: str, at: str) -> str:
        return haproxy_socket.add(self._socket, section.name, name, at, section.options)

    # ------------------------------------------------------------ files
    def _prepare(self, rendering: Config) -> None:
        for folder, mode in ((self._folder, 0o755), (self._folder / "empty", 0o555)):
            folder.mkdir(parents=True, exist_ok=True)
            folder.chmod(mode)
        for name in (LISTS, CERTIFICATES):
            (self._folder / name).mkdir(exist_ok=True)
            (self._folder / name).chmod(0o700)
        for name, text in rendering.files:
            write_if_changed(self._folder / name, text.encode(), 0o600)

    def _tidy(self, rendering: Config) -> None:
        kept = {name for name, _ in rendering.files}
        for folder in (LISTS, CERTIFICATES):
            for path in (self._folder / folder).iterdir():
                if f"{folder}/{path.name}" not in kept:
                    path.unlink()

    def _read(self, name: str) -> str:
        try:
            return (self._folder / name).read_text()
        except OSError:
            return ""

    # ------------------------------------------------------------ a new process
    def _reload(self, rendering: Config, text: str) -> None:
        if shut := _shut_door(rendering):
            raise CommandFailed(self.name, shut)
        candidate = self._checked(text)
        before = self._read("haproxy.cfg")
        self._keep_state()
        candidate.replace(self._config)
        running = self._supervision.pid(self.name)
        self._supervision.ensure(Daemon(self.name, self._script()))
        if running and running == self._supervision.pid(self.name):
            self._supervision.reload(self.name)
        if not self._await(rendering):
            if before:
                write_if_changed(self._config, before.encode(), 0o600)
            raise CommandFailed(self.name, "did not take its new configuration, and goes on with the one before")

    def _checked(self, text: str) -> Path:
        """A file with the configuration, which HAProxy would take. Raises CommandFailed."""
        candidate = self._folder / "candidate.cfg"
        write_if_changed(candidate, text.encode(), 0o600)
        done = finish("haproxy", "-W", "-c", "-f", str(candidate))
        if done.code != 0:
            candidate.unlink()
            words = [line for line in done.err.splitlines() if "ALERT" in line] or done.err.splitlines()
            raise CommandFailed(self.name, "; ".join(words)[:500] or f"the check ended with {done.code}")
        return candidate

    def _keep_state(self) -> None:
        """Who answers and who does not: the next process begins with it, and sends nobody to a dead member."""
        try:
            state = haproxy_socket.state(self._socket)
        except NoAnswer:
            state = "1\n"
        write_if_changed(self._folder / "servers", state.encode(), 0o600)

    def _await(self, rendering: Config) -> bool:
        for _ in range(_ATTEMPTS):
            if self._is_framed(rendering):
                return True
            time.sleep(_PAUSE)
        return False

    def _script(self) -> str:
        return f"#!/bin/sh\nexec haproxy -W -f {self._config}\n"


def _shut_door(rendering: Config) -> str:
    """What is wrong with a door: an address that the router does not have, a port that somebody else holds. Else nothing."""
    for address, port in (section.door for section in rendering.sections):
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as door:
            door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            try:
                door.bind((address, port))
            except OSError as error:
                return f"cannot listen on {address}:{port}: {error.strerror}"
    return ""


def _names(section: Section | None) -> frozenset[str]:
    return frozenset(name for name, _ in section.members) if section is not None else frozenset()


def _differing(rendering: Config, seen: tuple[ServerSeen, ...]) -> str:
    """Whose members are not as wanted; one that leaves and keeps its last connections is as wanted."""
    there = {(each.section, each.name): each for each in seen}
    for section in rendering.sections:
        for name, at in section.members:
            held = there.pop((section.name, name), None)
            if held is None:
                return f"member {name} is missing in {section.name}"
            if not (held.works and held.checked and held.at == at):
                return f"member {name} of {section.name} is not as configured"
    extra = next((each for each in there.values() if each.works), None)
    return f"there is a member {extra.name} in {extra.section}" if extra is not None else ""
