"""How fast disks of an offering may be: given, shown, refused."""

from typing import Any

import pytest

from tests.api.rows import assert_row_matches_catalogue
from tests.api.stage import Stage, refusal

GIVEN = {"bytesreadrate": 1000, "bytesreadratemax": 2000, "bytesreadratemaxlength": 3, "iopswriterate": 50}
SHOWN = {"diskBytesReadRate": 1000, "diskBytesReadRateMax": 2000, "diskBytesReadRateMaxLength": 3, "diskIopsWriteRate": 50}
MAKE = {
    "createDiskOffering": {"name": "d", "displaytext": "d", "disksize": 1},
    "createServiceOffering": {"name": "s", "displaytext": "s", "cpunumber": 1, "cpuspeed": 500, "memory": 128},
}


def shown(row: dict[str, Any]) -> dict[str, int]:
    return {name: value for name, value in row.items() if name.startswith(("diskBytes", "diskIops"))}


@pytest.mark.parametrize("command", MAKE)
async def test_offerings_say_how_fast_their_disks_may_be(stage: Stage, command: str):
    made = await stage.admin(command, **MAKE[command], **GIVEN)
    assert SHOWN == shown(made)
    listed = command.replace("create", "list") + "s"
    (row,) = await stage.admin(listed, id=made["id"])
    assert_row_matches_catalogue(listed, row)
    assert SHOWN == shown(row)
    without = await stage.admin(command, **{**MAKE[command], "name": "without"})
    assert {} == shown(without)


async def test_limits_of_a_disk_offering_change_and_go(stage: Stage):
    made = await stage.admin("createDiskOffering", **MAKE["createDiskOffering"], **GIVEN)
    await stage.admin("updateDiskOffering", id=made["id"], name="other")
    changed = await stage.admin("updateDiskOffering", id=made["id"], byteswriterate=7)
    assert {"diskBytesWriteRate": 7} == shown(changed)
    assert {} == shown(await stage.admin("updateDiskOffering", id=made["id"], byteswriterate=0))


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"bytesreadrate": -1}, "numbers from 0"),
        ({"iopsreadrate": 10**15 + 1}, "numbers from 0"),
        ({"bytesreadratemax": 5}, "give bytesreadrate, too"),
        ({"bytesreadrate": 6, "bytesreadratemax": 5}, "is less than bytesreadrate"),
        ({"bytesreadrate": 6, "bytesreadratemaxlength": 5}, "give bytesreadratemax, too"),
        ({"miniops": 5}, "guarantees no speed"),
    ],
)
@pytest.mark.parametrize("command", MAKE)
async def test_limits_that_make_no_sense_are_refused(stage: Stage, command: str, given: dict[str, int], why: str):
    with refusal(431, why):
        await stage.admin(command, **MAKE[command], **given)
