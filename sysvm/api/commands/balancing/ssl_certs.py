"""Certificates of users, and the load balancers that show them. A key is sealed when it comes and never shown again."""

from sysvm.api.answers import load_balancers as answers
from sysvm.api.call import Call, One, Reply, Rows, Success
from sysvm.api.commands.balancing.load_balancers import changed, the_rule
from sysvm.api.handlers import handler
from sysvm.api.listing import visible
from sysvm.api.rules import ssl_certs as judge
from sysvm.basics.errors import Refused, Why
from sysvm.store import tables
from sysvm.store.queries import load_balancers, owned
from sysvm.store.store import Row, Tx
from sysvm.wire.balancing import Carried

ABOUT = "SslCert"


@handler("uploadSslCert")
def upload_ssl_cert(call: Call) -> Reply:
    """Kept when certificate, key and chain fit together."""
    owner = call.owner()
    checked = judge.check(call["certificate"], call["privatekey"], call.get("certchain"), call.get("password"), call.now)
    id_ = call.tx.insert(
        tables.ssl_certificate,
        uuid=call.ids.uuid(),
        name=call["name"],
        certificate=checked.certificate,
        chain=checked.chain,
        private_key=call.vault.seal(checked.key),
        fingerprint=checked.fingerprint,
        created=call.now,
        **owner.columns,
    )
    row = _shown(call.tx, id_)
    return One(answers.certificate(row, ()), call.about(ABOUT, row), f"uploading certificate {row.name}")


def _shown(tx: Tx, id_: int) -> Row:
    row = tx.one(owned.with_owner(tables.ssl_certificate).where(tables.ssl_certificate.c.id == id_))
    assert row is not None
    return row


@handler("listSslCerts")
def list_ssl_certs(call: Call) -> Reply:
    """One certificate, that of a rule, or all of an account; the caller's when nothing is said."""
    table = tables.ssl_certificate
    statement = owned.with_owner(table)
    if call.get("certid"):
        statement = statement.where(table.c.id == call.need(table, "certid").id)
    elif call.get("lbruleid"):
        statement = statement.where(table.c.id == the_rule(call, "lbruleid").certificate_id)
    elif (account := call.row(tables.account, "accountid")) is not None:
        statement = statement.where(table.c.account_id == account.id)
    else:
        statement = statement.where(*visible(call, table))
    rows = call.tx.all(statement.order_by(table.c.id))
    shown = [answers.certificate(row, load_balancers.rules_with_certificate(call.tx, row.id)) for row in rows]
    return Rows(shown, len(shown))


@handler("deleteSslCert")
def delete_ssl_cert(call: Call) -> Reply:
    """Gone, with its key, if no load balancer shows it."""
    row = call.need(tables.ssl_certificate, "id")
    used = load_balancers.rules_with_certificate(call.tx, row.id)
    if used:
        names = ", ".join(each.name for each in used)
        raise Refused(f"Certificate in use by a loadbalancer(s): {names}; use removeCertFromLoadBalancer", Why.IN_USE)
    call.tx.update(tables.ssl_certificate, row.id, removed=call.now, private_key="")
    return Success(about=call.about(ABOUT, row), description=f"deleting certificate {row.name}")


# ---------------------------------------------------------------- on load balancers
@handler("assignCertToLoadBalancer")
def assign_cert_to_load_balancer(call: Call) -> Reply:
    """The rule ends TLS with it."""
    rule, certificate = the_rule(call, "lbruleid"), call.need(tables.ssl_certificate, "certid")
    if rule.carried != Carried.SSL:
        raise Refused(f"Can't assign a certificate to load balancer {rule.uuid}: its protocol is {rule.carried}, not ssl")
    if certificate.account_id != rule.account_id:
        raise Refused("Certificate and load balancer are not of the same account")
    if rule.certificate_id is not None:
        raise Refused(f"Another certificate is already bound to the LB {rule.uuid}; use removeCertFromLoadBalancer")
    load_balancers.change(call.tx, rule.id, certificate_id=certificate.id)
    return changed(call, rule, f"assigning certificate {certificate.uuid} to load balancer {rule.uuid}")


@handler("removeCertFromLoadBalancer")
def remove_cert_from_load_balancer(call: Call) -> Reply:
    """The rule is not served until it has another one."""
    rule = the_rule(call, "lbruleid")
    if rule.certificate_id is None:
        raise Refused(f"No certificate is bound to lb with id: {rule.uuid}")
    load_balancers.change(call.tx, rule.id, certificate_id=None)
    return changed(call, rule, f"removing the certificate of load balancer {rule.uuid}")
