"""uploadCustomCertificate: what is stored, what is served, what is said."""

from typing import Any

import pytest
import sqlalchemy as sa

from sysvm.store import tables
from sysvm.store.queries import certificates
from sysvm.store.store import Tx
from tests.api.stage import Stage, refusal
from tests.certificates.authority import SUFFIX, Made, make, server, traditional

ROOT = make("root")
MIDDLE = make("middle", ROOT)
LEAF = server(MIDDLE)
NAMED = {"domainsuffix": SUFFIX}


async def member(stage: Stage, made: Made, name: str, number: int) -> str:
    got = await stage.admin.job("uploadCustomCertificate", certificate=made.pem, name=name, id=number, **NAMED)
    return got["message"]


async def leaf(stage: Stage, made: Made, **more: Any) -> str:
    given = {"certificate": made.pem, "privatekey": made.key_pem, **NAMED, **more}
    return (await stage.admin.job("uploadCustomCertificate", **given))["message"]


async def whole(stage: Stage) -> str:
    await member(stage, ROOT, "root1", 1)
    await member(stage, MIDDLE, "intermed1", 2)
    return await leaf(stage, LEAF)


async def served(stage: Stage) -> list[str]:
    """What proxies show, certificate by certificate."""
    got = await stage.store.read(lambda tx: certificates.served(tx, stage.vault))
    end = "-----END CERTIFICATE-----\n"
    return [f"{part}{end}" for part in got.chain.split(end)[:-1]] if got is not None else []


async def test_a_chain_and_its_server_certificate_become_live(stage: Stage):
    """The leaf first, the root last; the settings that are left to do are named."""
    message = await whole(stage)
    assert [LEAF.pem, MIDDLE.pem, ROOT.pem] == await served(stage)
    assert "live for the next connection" in message
    assert f"set consoleproxy.url.domain to *.{SUFFIX} and consoleproxy.sslEnabled to true" in message
    found = await stage.store.read(lambda tx: certificates.served(tx, stage.vault))
    assert LEAF.key_pem == found.key


async def test_one_call_sets_the_domain_and_the_encryption_too(stage: Stage):
    """activate=true, in the same transaction."""
    await member(stage, ROOT, "root1", 1)
    await leaf(stage, server(ROOT), activate=True)
    for name, expected in (("consoleproxy.url.domain", f"*.{SUFFIX}"), ("consoleproxy.sslEnabled", "true")):
        (row,) = await stage.admin("listConfigurations", name=name)
        assert expected == row["value"]


async def test_keys_are_sealed_and_in_no_job_or_event(stage: Stage):
    """The database alone gives no key away."""
    await whole(stage)
    secret = LEAF.key_pem.splitlines()[1]

    def everything(tx: Tx) -> str:
        names = ("certificate", "job", "event", "setting", "alert")
        return "".join(str(tx.all(sa.select(tables.metadata.tables[name]))) for name in names)

    assert secret not in await stage.store.read(everything)


async def test_a_renewal_by_the_same_names_keeps_the_old_chain_live_until_it_is_whole(stage: Stage):
    """Meanwhile there is an alert, and the job says what is missing."""
    await whole(stage)
    root, middle = (new := make("root")), make("middle", new)
    renewed = server(middle)
    assert "the last good chain stays live" in await member(stage, root, "root1", 1)
    await member(stage, middle, "intermed1", 2)
    assert [LEAF.pem, MIDDLE.pem, ROOT.pem] == await served(stage)
    (alert,) = await stage.admin("listAlerts", type=31)
    assert "do not fit together" in alert["description"]
    await leaf(stage, renewed)
    assert [renewed.pem, middle.pem, root.pem] == await served(stage)
    assert 3 == len(await stage.store.read(certificates.rows))


async def test_a_running_proxy_takes_it_and_the_job_waits_for_that(stage: Stage):
    """Its document is wished; nothing is restarted."""

    def proxy(tx: Tx) -> int:
        zone = tx.insert(tables.zone, uuid="z", name="z", created=tx.now)
        owner = {"account_id": 2, "domain_id": 1, "domain_path": "/1/"}
        offering = tx.value(sa.select(tables.service_offering.c.id).limit(1))
        return tx.insert(tables.machine, uuid="m", name="v-1-VM", kind="consoleproxy", zone_id=zone, wanted="running",
                         service_offering_id=offering, created=tx.now, **owner)  # fmt: skip

    machine = await stage.store.run(proxy)
    await stage.admin("uploadCustomCertificate", certificate=ROOT.pem, name="root1", id=1, **NAMED)
    (part,) = await stage.store.read(lambda tx: tx.all(sa.select(tables.job_part)))
    assert ("machine", machine, "live") == (part.kind, part.thing_id, part.outcome)


REFUSED = [
    ({"name": "x", "privatekey": LEAF.key_pem}, "Can't change the alias for private key certification"),
    ({}, "alias can't be empty, if it's a certification chain"),
    ({"name": "x"}, "index can't be empty, if it's a certification chain"),
    ({"privatekey": ROOT.key_pem}, "tuple for domain: consoleproxy.company.com: the private key is not"),
    ({"privatekey": traditional(LEAF.key)}, "failed due to exception for domain: consoleproxy.company.com: the private key is"),
    ({"privatekey": LEAF.key_pem}, "the issuer of the server certificate, middle, is missing"),
    ({"name": "x", "id": 2}, "is no CA certificate"),
    ({"name": "x", "id": 1, "certificate": "nonsense"}, "check with error: Certificate validation failed due to exception: the"),
    ({"name": "x", "id": 0, "certificate": ROOT.pem}, "id counts from 1"),
    ({"name": "sysvm authority", "id": 1, "certificate": ROOT.pem}, "is taken by the cloud itself"),
    ({"name": "CPVMCertificate", "id": 1, "certificate": ROOT.pem}, "is taken by the cloud itself"),
]  # fmt: skip


@pytest.mark.parametrize(("given", "why"), REFUSED)
async def test_what_cannot_be_served_is_refused_and_not_stored(stage: Stage, given: dict[str, Any], why: str):
    """CloudStack's words first, then what is wrong and how it is mended."""
    with refusal(431, why):
        await stage.admin("uploadCustomCertificate", **{"certificate": LEAF.pem, **NAMED, **given})
    assert [] == await stage.store.read(certificates.rows)


async def test_an_id_belongs_to_one_name(stage: Stage):
    """A second certificate with it is a slip of the keyboard."""
    await member(stage, ROOT, "root1", 1)
    with refusal(431, "The id 1 is that of root1"):
        await member(stage, make("root"), "root2", 1)


async def test_only_a_root_admin_may(stage: Stage):
    """Users do not see the command."""
    user = await stage.user()
    with refusal(432):
        await user("uploadCustomCertificate", certificate=ROOT.pem, name="root1", id=1, **NAMED)
