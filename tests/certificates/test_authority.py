"""The built-in authority as the API shows it: what it issues, what it revokes."""

from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import NameOID

from sysvm.ca import pem
from sysvm.store import tables
from sysvm.store.queries import keys, links
from sysvm.store.store import Tx
from tests.api.stage import Stage, refusal
from tests.certificates.authority import RSA


@pytest.fixture(autouse=True)
async def authority(stage: Stage) -> keys.Keys:
    """As a server's first start makes it."""
    return await stage.store.run(lambda tx: keys.ensure_keys(tx, stage.vault, stage.ids))


def request(*names: str, common: str = "") -> str:
    """A request of an RSA key."""
    subject = [x509.NameAttribute(NameOID.COMMON_NAME, common)] if common else []
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name(subject))
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(n) for n in names]), critical=False)
    return builder.sign(RSA, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


async def test_there_is_one_provider(stage: Stage):
    """It is called root; another name finds nothing."""
    (row,) = await stage.admin("listCAProviders")
    assert "root" == row["name"]
    assert [] == await stage.admin("listCAProviders", name="other")
    with refusal(431, "There is no CA provider other"):
        await stage.admin("listCaCertificate", provider="other")


async def test_the_root_is_everybodys_to_read(stage: Stage, authority: keys.Keys):
    """Users verify with it."""
    user = await stage.user()
    assert authority.authority.ca_pem == (await user("listCaCertificate"))["certificate"]


ISSUED = [
    ({"domain": "a.example.org,b.example.org"}, ["a.example.org", "b.example.org"], [], True),
    ({"ipaddress": "192.0.2.7,2001:db8::7"}, [], ["192.0.2.7", "2001:db8::7"], True),
    ({"csr": request("c.example.org", common="d.example.org")}, ["d.example.org", "c.example.org"], [], False),
    ({"csr": request("c.example.org"), "domain": "e.example.org"}, ["e.example.org"], [], False),
]


@pytest.mark.parametrize(("given", "names", "addresses", "with_key"), ISSUED)
async def test_a_certificate_is_issued(
    stage: Stage, authority: keys.Keys, given: dict[str, Any], names: list[str], addresses: list[str], with_key: bool
):
    """Signed by the root, for these names, for so many days; a key only where none was given."""
    got = await stage.admin.job("issueCertificate", duration=3, **given)
    certificate, _ = pem.read_certificate(got["certificate"])
    root, _ = pem.read_certificate(got["cacertificates"])
    certificate.verify_directly_issued_by(root)
    held = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names == held.get_values_for_type(x509.DNSName)
    assert addresses == [str(address) for address in held.get_values_for_type(x509.IPAddress)]
    assert 3 == round((certificate.not_valid_after_utc.timestamp() - stage.clock.now()) / 86400)
    assert with_key is ("privatekey" in got)
    if with_key:
        assert pem.read_key(got["privatekey"])[0].public_key() == certificate.public_key()


REFUSED = [
    ({}, "Please give domain or ipaddress"),
    ({"domain": "not a name!"}, "is no DNS name"),
    ({"ipaddress": "192.0.2.300"}, "is no IP address"),
    ({"domain": "a.org", "duration": 1000}, "duration is in days"),
    ({"csr": "nonsense"}, "no certificate request"),
    ({"csr": request()}, "Please give domain or ipaddress, or a csr that has names"),
]


@pytest.mark.parametrize(("given", "why"), REFUSED)
async def test_what_cannot_be_issued_says_why(stage: Stage, given: dict[str, Any], why: str):
    """431."""
    with refusal(431, why):
        await stage.admin("issueCertificate", **given)


async def test_an_issued_certificate_opens_no_link(stage: Stage):
    """Hosts are known by what was given to them."""
    got = await stage.admin.job("issueCertificate", domain="h")
    certificate, _ = pem.read_certificate(got["certificate"])
    assert await stage.store.read(lambda tx: links._is_revoked(tx, f"{certificate.serial_number:x}"))


def host(tx: Tx) -> int:
    """A linked host with a certificate."""
    zone = tx.insert(tables.zone, uuid="z", name="z", created=tx.now)
    pod = tx.insert(tables.pod, uuid="p", name="p", zone_id=zone, created=tx.now)
    cluster = tx.insert(tables.cluster, uuid="c", name="c", zone_id=zone, pod_id=pod, created=tx.now)
    id_ = tx.insert(
        tables.host, uuid="h", name="host1", zone_id=zone, pod_id=pod, cluster_id=cluster, state="Up",
        link_session="s", created=tx.now,
    )  # fmt: skip
    links.add_certificate(tx, id_, "ab12", "f" * 64, tx.now + 86400)
    return id_


async def test_a_revoked_certificate_opens_no_link_and_the_link_is_cut(stage: Stage):
    """However the serial is written; twice is once."""
    id_ = await stage.store.run(host)
    with refusal(431, "is host host1's (h), not other's"):
        await stage.admin("revokeCertificate", serial="ab12", cn="other")
    for serial in ("0xAB12", "00:ab:12"):
        await stage.admin("revokeCertificate", serial=serial)
    assert await stage.store.read(lambda tx: links._is_revoked(tx, "ab12"))
    row = await stage.store.read(lambda tx: tx.get(tables.host, id_))
    assert "Connecting" == row.state
    with refusal(431, "No host has a certificate with serial ff"):
        await stage.admin("revokeCertificate", serial="ff")


async def test_a_host_renews_now(stage: Stage):
    """Its turn asks until there is a younger certificate; with reconnect the link is opened anew after that."""
    id_ = await stage.store.run(host)
    await stage.store.run(lambda tx: tx.update(tables.host, id_, hypervisor="KVM"))
    stage.clock.advance(60)
    await stage.admin("provisionCertificate", hostid="h", reconnect=True)

    def due(tx: Tx) -> tuple[bool, str]:
        row = tx.get(tables.host, id_)
        return links.is_renewal_due(tx, row), row.state

    assert (True, "Connecting") == await stage.store.read(due)
    await stage.store.run(lambda tx: links.add_certificate(tx, id_, "cd34", "f" * 64, tx.now + 86400))
    assert (False, "Connecting") == await stage.store.read(due)
    (part,) = await stage.store.read(lambda tx: tx.rows(tables.job_part, "kind = 'host'"))
    assert (id_, "live") == (part.thing_id, part.outcome)
    with refusal(534, "is Connecting: it renews over its link"):
        await stage.admin("provisionCertificate", hostid="h")


async def test_how_long_a_certificate_of_a_host_is_good(stage: Stage):
    """ca.framework.cert.validity.period."""
    id_ = await stage.store.run(host)
    await stage.admin("updateConfiguration", name="ca.framework.cert.validity.period", value="3")
    assert 3 * 86400 == await stage.store.read(lambda tx: links.validity_s(tx, id_))
