"""An uploaded certificate reaches the running console proxies, and their machines stay the same."""

import pytest

from sysvm.store import tables
from sysvm.store.queries import certificates, jobs, settings
from sysvm.store.queries.events import SYSTEM, About
from sysvm.store.store import Tx
from tests.certificates.authority import SUFFIX, make, server
from tests.simulation.cloud import Cloud, running
from tests.simulation.loop import run


def proxy(tx: Tx):
    """The console proxy, when it runs."""
    rows = tx.rows(tables.machine, "kind = 'consoleproxy' and removed is null")
    return rows[0] if rows and running(rows[0].id)(tx) else None


@pytest.mark.parametrize("encrypted", [False, True])
def test_a_new_certificate_changes_the_document_and_nothing_else(encrypted: bool):
    """Same incarnation, new document, live; without encryption there is nothing to change."""
    root = make("root")
    leaf = server(root)

    async def main(cloud: Cloud) -> None:
        async with cloud.server():
            await cloud.zone()
            ssl = settings.find("consoleproxy.sslEnabled")
            await cloud.store.run(lambda tx: settings.store(tx, ssl, "true" if encrypted else "false"))
            before = await cloud.until(proxy)

            def upload(tx: Tx) -> str:
                certificates.keep_member(tx, "root1", 1, root.pem, SUFFIX)
                certificates.keep_server(tx, certificates.Leaf(leaf.pem, leaf.key_pem, SUFFIX), cloud.vault)
                assert [] == certificates.publish(tx, cloud.vault)
                return jobs.open_job(tx, jobs.NewJob("u", SYSTEM, certificates.wish_documents(tx), {}, About(), "", ""))

            uuid = await cloud.store.run(upload)
            (job,) = await cloud.until(lambda tx: tx.rows(tables.job, "uuid = :uuid and status != 0", uuid=uuid))
            after = await cloud.row(tables.machine, before.id)
            assert (1, before.incarnation) == (job.status, after.incarnation), job.result
            assert encrypted is (after.document_live != before.document_live)
            assert after.document_live == after.document_wanted

    cloud = Cloud()
    run(cloud.clock, main(cloud))
