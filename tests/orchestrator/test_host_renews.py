"""A host that shall renew its certificate is asked once, and its job is over when it has."""

import pytest

from sysvm.store import tables
from sysvm.store.queries import links, turns
from sysvm.store.store import Tx
from sysvm.wire import link
from tests.orchestrator.tale import Tale, tell


@pytest.mark.parametrize("reconnect", [False, True])
def test_a_host_is_asked_to_renew_until_it_has(reconnect: bool):
    """Before its link is opened anew, so that the new one is shown."""

    async def story(tale: Tale) -> None:
        await tale.system_vms(2)
        host = (await tale.rows(tables.host))[0]
        simulated = tale.cloud.earth.hosts[host.id]
        serve, asked = simulated.call, []

        async def listen(body, answer, **given):
            if not isinstance(body, link.RenewNow):
                return await serve(body, answer, **given)
            asked.append(body)
            await tale.cloud.store.run(lambda tx: links.add_certificate(tx, host.id, "ab", "f" * 64, tx.now + 1))
            return link.Nothing()

        simulated.call = listen

        def renew(tx: Tx) -> None:
            state = "Connecting" if reconnect else host.state
            tx.update(tables.host, host.id, renew_after=tx.now, state=state)
            turns.wish(tx, "host", host.id, host=host.id)

        await tale.cloud.store.run(renew)
        await tale.until(lambda tx: not links.is_renewal_due(tx, tx.get(tables.host, host.id)))
        await tale.until(lambda tx: tx.get(tables.host, host.id).state == "Up")
        assert 1 == len(asked)

    tell(story)
