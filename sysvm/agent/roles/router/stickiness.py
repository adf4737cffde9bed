"""How a rule of the load balancer knows its clients again, in HAProxy's words. Pure.

LbCookie is HAProxy's own cookie. AppCookie was `appsession`, which HAProxy no longer has; a table of the application's
cookies does the same. SourceBased is a table of addresses. Tables are told to the next process over HAProxy's peers.
"""

import re

from sysvm.agent.roles.router.service import Wrong
from sysvm.wire.balancing import Stickiness, StickyBy

_TOKEN = re.compile(r"[A-Za-z0-9_.~-]{1,64}")
_SIZE = re.compile(r"[1-9][0-9]{0,8}[kmg]?")
_TIME = re.compile(r"[1-9][0-9]{0,8}(?:us|ms|s|m|h|d)?")
_SESSIONS = "200k"


def lines(stickiness: Stickiness | None, where: str) -> tuple[str, ...]:
    """What the section says besides. Raises Wrong."""
    if stickiness is None:
        return ()
    params = stickiness.params
    match stickiness.method:
        case StickyBy.SOURCE:
            size = _matching(_SIZE, params.get("tablesize", "200k"), where)
            expire = _matching(_TIME, params.get("expire", "30m"), where)
            return f"stick-table type ip size {size} expire {expire} peers sysvm", "stick on src"
        case StickyBy.LB_COOKIE:
            return (_lb_cookie(params, where),)
        case StickyBy.APP_COOKIE:
            return _app_cookie(params, where)


def _lb_cookie(params: dict[str, str], where: str) -> str:
    name = _matching(_TOKEN, params.get("cookie-name", "lb"), where)
    mode = params.get("mode", "insert")
    if mode not in ("insert", "rewrite", "prefix"):
        raise Wrong(f"{where}: {mode!r} is no mode of a cookie", "insert, rewrite or prefix")
    flags = [flag for flag in ("nocache", "indirect", "postonly") if params.get(flag) == "true"]
    domain = params.get("domain")
    if domain:
        flags.append(f"domain {_matching(_TOKEN, domain, where)}")
    return " ".join(("cookie", name, mode, *flags))


def _app_cookie(params: dict[str, str], where: str) -> tuple[str, ...]:
    name = _matching(_TOKEN, params.get("cookie-name", "JSESSIONID"), where)
    length = _matching(re.compile(r"[1-9][0-9]{0,2}"), params.get("length", "52"), where)
    hold = _matching(_TIME, params.get("holdtime", "3h"), where)
    asked, answered = (f"req.cook({name})", ""), (f"res.cook({name})", "")
    if params.get("prefix") == "true":
        asked, answered = _by_prefix(name)
    delimiter = {"path-parameters": ",;", "query-string": ""}.get(params.get("mode", "path-parameters"))
    if delimiter is None:
        raise Wrong(f"{where}: {params['mode']!r} is no mode of a session", "path-parameters or query-string")
    learn = (f"stick store-request {asked[0]}{asked[1]}",) if params.get("request-learn") == "true" else ()
    return (
        f"stick-table type string len {length} size {_SESSIONS} expire {hold} peers sysvm",
        f"stick match {asked[0]}{asked[1]}",
        f"stick match urlp({name}{delimiter})",
        *learn,
        f"stick store-response {answered[0]}{answered[1]}",
    )


def _by_prefix(name: str) -> tuple[tuple[str, str], tuple[str, str]]:
    """The cookie's name only begins like this; what follows is the session. Each with the condition that it is there."""
    plain = name.replace(".", "[.]")
    asked = f"""'req.fhdr(cookie),regsub("^(.*; *)?{plain}([^;]*).*","\\2")'"""
    answered = f"""'res.fhdr(set-cookie),regsub("^{plain}([^;]*).*","\\1")'"""
    has = f" if {{ req.fhdr(cookie) -m reg '(^|; *){plain}' }}"
    sets = f" if {{ res.fhdr(set-cookie) -m beg {name} }}"
    return (asked, has), (answered, sets)


def _matching(form: re.Pattern[str], text: str, where: str) -> str:
    if not form.fullmatch(text):
        raise Wrong(f"{where}: {text[:40]!r} cannot be a parameter of stickiness", "see createLBStickinessPolicy")
    return text
