"""The lists of metrics: the plain rows, with sums in a web interface's words."""

import pytest

from sysvm.api.answers import metrics as answers
from tests.api.rows import assert_row_matches_catalogue
from tests.api_infrastructure.cloud import Cloud


@pytest.mark.parametrize(
    ("command", "plain", "added"),
    [
        ("listZonesMetrics", "listZones", {"clusters": "1/1", "cpuallocated": "0.00%", "state": "Enabled"}),
        ("listClustersMetrics", "listClusters", {"hosts": "1/1", "memoryallocated": "0.00%"}),
        ("listHostsMetrics", "listHosts", {"instances": "0/0", "powerstate": "On", "cpuallocatedghz": "0.00 Ghz"}),
        ("listStoragePoolsMetrics", "listStoragePools", {"disksizeallocatedgb": "0.00 GB"}),
        ("listManagementServersMetrics", "listManagementServers", {}),
        ("listVirtualMachinesMetrics", "listVirtualMachines", {}),
        ("listVolumesMetrics", "listVolumes", {}),
    ],
)
async def test_rows_are_those_of_the_plain_list_and_more(cloud: Cloud, command: str, plain: str, added: dict[str, str]):
    """Each row has every field of its plain one."""
    await cloud.stage.store.run(lambda tx: tx.sql("update host set state = 'Up'"))
    rows, before = await cloud.admin(command), await cloud.admin(plain)
    assert len(rows) == len(before)
    for row, known in zip(rows, before, strict=True):
        assert_row_matches_catalogue(command, row)
        assert {name: row[name] for name in known} == {
            **known,
            **{name: row[name] for name in known.keys() & added.keys()},
        }
        assert {name: row.get(name) for name in added} == added


async def test_the_database_says_what_it_is(cloud: Cloud):
    """Its version at least."""
    row = await cloud.admin("listDbMetrics")
    assert row["versioncomment"] in ("sqlite", "postgresql") and row["version"][0].isdigit()


@pytest.mark.parametrize(("row", "more"), [({"size": 5 << 30}, {"sizegb": "5.00 GB"}), ({}, {})])
def test_a_volume_has_its_size_in_words_once_it_is_known(row: dict[str, int], more: dict[str, str]):
    """A volume that is being brought has no size yet."""
    assert answers.of_volume(row) == more
