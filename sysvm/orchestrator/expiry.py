"""What has had its time: events and alerts past their purge delay, passwords that a guest has long had the time to fetch,
images on primary storage whose template is gone."""

from sysvm.store import tables
from sysvm.store.queries import machines, nics, pool_images, settings
from sysvm.store.store import Tx

DAY_S = 24 * 3600.0
BATCH = 1000
PASSWORD_S = DAY_S  # of running: its agent fetches it in the first minute

# Table, the setting with the days, and the column that says since when.
PURGED = (("event", "event.purge.delay", "created"), ("alert", "alert.purge.delay", "sent"))

FETCHED = """
select distinct m.id from machine m join placement p on p.machine_id = m.id and p.incarnation = m.incarnation
where m.kind = 'guest' and m.password is not null and m.removed is null and m.power = 'running'
    and p.removed is null and p.power = 'running' and p.since < :before
limit 100
"""


def sweep(tx: Tx) -> None:
    """One round."""
    for table, setting, column in PURGED:
        _purge(tx, table, float(settings.value(tx, setting)), column)
    if settings.value(tx, "storage.template.cleanup.enabled"):
        pool_images.collect(tx)
    for (id_,) in tx.sql(FETCHED, before=tx.now - PASSWORD_S):
        _forget_password(tx, id_)


def _purge(tx: Tx, table: str, days: float, column: str) -> None:
    """Removes some of the oldest; 0 days: none ever."""
    if days > 0:
        tx.sql(
            f"delete from {table} where id in (select id from {table} where {column} < :before order by id limit {BATCH})",
            before=tx.now - days * DAY_S,
        )


def _forget_password(tx: Tx, machine_id: int) -> None:
    """Neither the database nor a router keeps it any longer."""
    tx.update(tables.machine, machine_id, password=None)
    for nic in nics.of_machine(tx, machine_id):
        if nic.network_id is not None:
            machines.wish_documents(tx, nic.network_id)
