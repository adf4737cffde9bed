"""From a request to an answer: who is it, may he, what does he want, do it in one transaction, render it.

The order of the checks is part of the promise: nobody learns whether a command or an object exists before he is known.
Commands that only read do all of this in one snapshot; the others are authenticated on a snapshot and then run in a
transaction of their own, so that a user who is disabled in between may get one last call through.
"""

import re
from collections.abc import Mapping
from typing import Any

from sysvm.api import authenticate, catalogue, envelopes, errors, handlers, params, permissions, sessions
from sysvm.api.authenticate import Known, SessionMismatch
from sysvm.api.before import Before
from sysvm.api.call import Accepted, Call, Flat, One, Reply, Success
from sysvm.api.catalogue import Command
from sysvm.api.envelopes import ERROR, JSON_TYPE, XML_TYPE
from sysvm.api.handlers import Handler
from sysvm.api.http import Request, Response
from sysvm.api.live import Live
from sysvm.api.passwords import Passwords
from sysvm.basics.errors import DatabaseAway, Refused, Why
from sysvm.basics.ids import Ids
from sysvm.store.queries import callers, events, jobs, settings
from sysvm.store.queries.addresses import NoPublicAddress, no_public_ip_alert
from sysvm.store.secrets import Vault
from sysvm.store.store import Store, Tx

MOST_SHOWN = 64
_uuid = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


class Dispatcher:
    """Answers requests. `integration`: nobody is asked who he is, the system user does it all."""

    def __init__(
        self,
        store: Store,
        ids: Ids,
        vault: Vault,
        passwords: Passwords,
        live: Live,
        version: str,
        *,
        integration: bool = False,
    ) -> None:
        self._store = store
        self._ids = ids
        self._vault = vault
        self._passwords = passwords
        self._live = live
        self._version = version
        self._integration = integration

    async def answer(self, request: Request) -> Response:
        """The answer to any request; refusals become error bodies here and nowhere else."""
        lower = _lowered(request.params)
        as_json = lower.get("response", "").lower() == "json"
        command = catalogue.commands().get(lower.get("command", ""))
        try:
            if command is not None and command.kind == "session" and not self._integration:
                return await self._session(command, request, lower, as_json=as_json)
            return await self._run(command, request, lower, as_json=as_json)
        except (Refused, DatabaseAway) as error:
            refused = errors.without_database(error) if isinstance(error, DatabaseAway) else error
            known = command is not None and refused.why is not Why.UNKNOWN_COMMAND
            envelope = command.envelope if command is not None and known else ERROR
            return envelopes.refusal(envelope, refused, as_json=as_json)

    async def _session(self, command: Command, request: Request, lower: dict[str, str], *, as_json: bool) -> Response:
        await self._store.read(self._live.load)
        if command.name == "logout":
            headers, content = sessions.drop_cookies(), await sessions.logout(self._store, request)
        elif not request.is_post:
            raise Refused("Use POST to log in: a password in an address ends in logs", Why.METHOD)
        else:
            params.parse(command, lower)
            content, cookie, key = await sessions.login(self._store, self._passwords, self._ids, self._live, lower)
            headers = sessions.set_cookies(cookie, key, secure=request.secure)
        body = envelopes.render(command.envelope, content, as_json=as_json)
        return Response(200, body, JSON_TYPE if as_json else XML_TYPE, headers)

    # ------------------------------------------------------------ a command
    async def _run(self, command: Command | None, request: Request, lower: dict[str, str], *, as_json: bool) -> Response:
        handler = handlers.find(command.name) if command is not None else None

        def look(tx: Tx) -> tuple[Known, Reply | None]:
            self._live.load(tx)
            known = self._who(tx, request, lower)
            found = self._admit(tx, known, command, handler, request, lower)
            if command is not None and found.reads and found.before is None:
                return known, found.do(self._call(tx, known, command, lower))
            return known, None

        try:
            known, reply = await self._store.read(look)
        except SessionMismatch as mismatch:
            session_id = mismatch.session_id
            await self._store.run(lambda tx: callers.end_session(tx, session_id))
            raise authenticate.rejected() from None
        assert command is not None and handler is not None
        if known.touch is not None:
            touched = known.touch
            await self._store.run(lambda tx: callers.touch_session(tx, touched))
        if reply is None:
            reply = await self._change(known, command, handler, lower)
        return self._rendered(command, reply, as_json=as_json)

    def _who(self, tx: Tx, request: Request, lower: Mapping[str, str]) -> Known:
        if self._integration:
            return authenticate.system(tx, request.address)
        return authenticate.known(tx, request, lower, self._vault, self._live)

    def _admit(
        self, tx: Tx, known: Known, command: Command | None, handler: Handler | None, request: Request,
        lower: Mapping[str, str],
    ) -> Handler:  # fmt: skip
        if command is None:
            raise errors.not_available(lower.get("command", "")[:MOST_SHOWN])
        role = known.caller.role_id
        rules = [] if role == permissions.ROOT_ROLE else callers.rules(tx, role)
        if not permissions.allowed(known.caller, command, rules):
            raise errors.not_available(command.name)
        if handler is None:
            raise errors.not_served(command.name, catalogue.not_yet()[command.name])
        enforced = self._live["enforce.post.requests.and.timestamps"] and not self._integration
        if enforced and not handler.reads and not request.is_post:
            raise Refused(f"{command.name} needs POST here", Why.BAD_REQUEST)
        return handler

    async def _change(self, known: Known, command: Command, handler: Handler, lower: dict[str, str]) -> Reply:
        extra: Any = None
        if handler.before is not None:
            values = params.parse(command, lower)
            before = Before(known.caller, values, self._store, self._vault, self._passwords)
            extra = await handler.before(before)

        def op(tx: Tx) -> tuple[Reply, bool]:
            call = self._call(tx, known, command, lower, extra)
            reply = self._recorded(call, handler.do(call))
            return reply, (settings.WAKE, 0) in tx.wakes

        try:
            reply, set_anew = await self._store.run(op)
        except NoPublicAddress as refused:
            zone = refused.zone_id  # the refusal has rolled the call back; the operator hears of it all the same
            await self._store.run(lambda tx: no_public_ip_alert(tx, zone))
            raise
        if set_anew:
            self._live.forget()  # at once here; the other servers hear of it
        return reply

    def _call(self, tx: Tx, known: Known, command: Command, lower: dict[str, str], extra: Any = None) -> Call:
        values = params.parse(command, lower)
        most = self._live["default.page.size"]
        return Call(tx, known.caller, command, values, ids=self._ids, vault=self._vault, raw=lower, extra=extra,
                    most_rows=most)  # fmt: skip

    def _recorded(self, call: Call, reply: Reply) -> Reply:
        """An asynchronous command becomes a job, a synchronous one an event."""
        if isinstance(reply, Accepted):
            return self._opened(call, reply)
        if isinstance(reply, One | Success) and call.command.event:
            about = reply.about or _about(call.command, reply)
            text = reply.description or f"{call.command.about}: {about.name or about.uuid}".removesuffix(": ")
            events.record(call.tx, call.command.event, text, actor=call.caller.actor, about=about)
        return reply

    def _opened(self, call: Call, reply: Accepted) -> Flat:
        chosen = self._chosen_job_id(call)
        new = jobs.NewJob(
            command=call.command.name, actor=call.caller.actor, parts=reply.parts, params=reply.params, about=reply.about,
            event_type=reply.event or call.command.event, description=reply.description, uuid=chosen, secret=reply.secret,
        )  # fmt: skip
        uuid = jobs.open_job(call.tx, new)
        # `jobid` is the only key of an async answer, and the last one of a create answer: scripts cut the text.
        return Flat({"id": reply.about.uuid, "jobid": uuid} if call.command.kind == "create" else {"jobid": uuid})

    def _chosen_job_id(self, call: Call) -> str:
        """The caller may choose the job's id, if it is new."""
        chosen = call.raw.get("injectedjobid") or call.raw.get("customjobid") or ""
        if chosen and not _uuid.fullmatch(chosen):
            raise errors.invalid(call.command.name, "injectedjobid", chosen[:MOST_SHOWN])
        if chosen and call.tx.sql("select 1 from job where uuid = :uuid", uuid=chosen):
            raise Refused(f"There is a job {chosen} already", Why.PARAMETER)
        return chosen

    def _rendered(self, command: Command, reply: Reply, *, as_json: bool) -> Response:
        content = envelopes.body(command, reply)
        if as_json:
            return Response(200, envelopes.render(command.envelope, content, as_json=True), self._live["json.content.type"])
        exposed = self._live["expose.cloudstack.version.api.xml.response"]
        version = self._version if exposed else ""
        return Response(200, envelopes.render(command.envelope, content, as_json=False, version=version), XML_TYPE)


def _lowered(given: Mapping[str, str]) -> dict[str, str]:
    """Parameter names in lower case; of a map parameter only the part before the index or the dot."""
    found: dict[str, str] = {}
    for name, value in given.items():
        cut = min((at for at in (name.find("["), name.find(".")) if at >= 0), default=len(name))
        found[name.lower() if cut == len(name) else name[:cut].lower() + name[cut:]] = value
    return found


def _about(command: Command, reply: One | Success) -> events.About:
    row = reply.row if isinstance(reply, One) else {}
    return events.About(command.result, None, str(row.get("id", "")), str(row.get("name", "")))
