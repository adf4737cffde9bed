"""uploadCustomCertificate: the certificate that console proxies show, and the chain above it.

CloudStack's order and words: the root (id 1), intermediates (from 2), then the server certificate with its key and without
a name. Checked as a whole before it is live; live with the next connection, no session is cut and nothing restarts.
"""

from typing import Any

from sysvm.api.call import Accepted, Call, Reply
from sysvm.api.handlers import handler, result
from sysvm.basics.errors import Refused
from sysvm.basics.log import get_logger
from sysvm.ca import chain, pem
from sysvm.store.queries import alerts, certificates, settings
from sysvm.store.queries.alerts import AlertType
from sysvm.store.queries.events import About
from sysvm.store.store import Row, Tx

FAILED = "Failed to pass certificate validation check with error: "
UPDATED = "Certificate has been successfully updated"
LIVE = "it is live for the next connection to every console proxy and secondary storage VM"
UNUSABLE = (
    "Unable to build keystore for CPVMCertificate due to CertificateException",
    "Cold not find and construct a valid SSL certificate",
)
DOMAIN, SSL = "consoleproxy.url.domain", "consoleproxy.sslEnabled"

log = get_logger()


@handler("uploadCustomCertificate")
def upload_custom_certificate(call: Call) -> Reply:
    """With privatekey the server certificate, else one of its chain."""
    if call.get("privatekey"):
        if call.get("name"):
            raise Refused("Can't change the alias for private key certification")
        message = _server(call)
    else:
        if not call.get("name"):
            raise Refused("alias can't be empty, if it's a certification chain")
        if "id" not in call:
            raise Refused("index can't be empty, if it's a certification chain")
        message = _member(call)
    parts = certificates.wish_documents(call.tx)
    about = About("Certificate", None, "", call.get("name") or certificates.SERVER)
    return Accepted(parts, about, f"Uploading certificate {about.name}", params={"message": message})


@result("uploadCustomCertificate")
def _uploaded(tx: Tx, job: Row) -> dict[str, Any]:
    return {"message": job.params["message"]}


# ---------------------------------------------------------------- the server certificate
def _server(call: Call) -> str:
    domain = call["domainsuffix"]
    try:
        certificate, restored = pem.read_certificate(call["certificate"])
        key, also = pem.read_key(call["privatekey"])
    except Refused as refused:
        raise Refused(f"{FAILED}Certificate validation failed due to exception for domain: {domain}: {refused.text}") from None
    leaf = certificates.Leaf(pem.certificate_pem(certificate), pem.key_pem(key), domain)
    if found := certificates.problems(leaf, certificates.members(call.tx), call.now):
        what = f"Invalid parameter found in (certificate, key, domainSuffix) tuple for domain: {domain}"
        raise Refused(f"{FAILED}{what}: {'; '.join(found)}")
    certificates.keep_server(call.tx, leaf, call.vault)
    certificates.publish(call.tx, call.vault)
    alerts.resolve(call.tx, AlertType.CA_CERT)
    form = chain.fits(certificate, domain)
    if call.get("activate"):
        _set(call, DOMAIN, form)
        _set(call, SSL, "true")
    return _sentence(f"{UPDATED}; {LIVE}", _settings_advice(call, form), restored or also)


def _set(call: Call, name: str, text: str) -> None:
    setting = settings.find(name)
    assert setting is not None
    settings.store(call.tx, setting, text)
    settings.look_again(call.tx, setting)


def _settings_advice(call: Call, form: str) -> str:
    """What is still to be done before addresses of consoles show it."""
    advice = []
    if settings.value(call.tx, DOMAIN) != form:
        advice.append(f"{DOMAIN} to {form}")
    if not settings.value(call.tx, SSL):
        advice.append(f"{SSL} to true")
    return f"set {' and '.join(advice)} (or upload with activate=true)" if advice else ""


# ---------------------------------------------------------------- the chain
def _member(call: Call) -> str:
    name, seq = call["name"].strip(), call["id"]
    if seq < 1:
        raise Refused("id counts from 1, the root")
    try:
        certificate, restored = pem.read_certificate(call["certificate"])
    except Refused as refused:
        raise Refused(f"{FAILED}Certificate validation failed due to exception: {refused.text}") from None
    member = chain.Member(name, seq, certificate)
    if found := chain.member_problems(member, call.now):
        raise Refused(f"{FAILED}Certificate validation failed due to exception: {'; '.join(found)}")
    certificates.keep_member(call.tx, name, seq, pem.certificate_pem(certificate), call["domainsuffix"])
    wrong = certificates.publish(call.tx, call.vault)
    if not wrong:
        return _sentence(UPDATED, LIVE if certificates.is_served(call.tx) else "", restored)
    _complain(call.tx, "; ".join(wrong))
    return _sentence(UPDATED, f"the last good chain stays live, for what is stored does not fit yet: {wrong[0]}", restored)


def _complain(tx: Tx, why: str) -> None:
    for text in UNUSABLE:
        log.error(text, why=why)
    subject = "The uploaded certificates do not fit together; the last good ones stay in use"
    alerts.raise_alert(tx, AlertType.CA_CERT, subject, why)


def _sentence(*parts: str) -> str:
    return "; ".join(part for part in parts if part)
