"""Alerts are mailed: each once, in their order, whatever dies; a mail server that is away holds nothing else up."""

from typing import Any

import pytest

from sysvm.store import tables
from sysvm.store.queries import alert_mail, alerts, settings
from sysvm.store.queries.alerts import AlertType
from sysvm.store.store import Tx
from tests.orchestrator.tale import Tale, tell
from tests.simulation.cloud import Cloud
from tests.simulation.faults import Strike, crash, everywhere

SUBJECTS = ["the first", "the second", "the third"]
POINTS = ("alert_mail claimed", "alert_mail before release", "alert_mail released")


def to_operators(tx: Tx, value: str = "ops@example.com, night@example.com") -> None:
    """Alerts are to be mailed."""
    settings.store(tx, settings.SETTINGS["alert.email.addresses"], value)


def raise_all(tx: Tx) -> None:
    """An alert of each subject."""
    for subject in SUBJECTS:
        alerts.raise_alert(tx, AlertType.HOST, subject)


def all_mailed(tx: Tx) -> bool:
    """Nothing waits any more."""
    return not tx.rows(tables.alert, "to_mail")


async def _story(cloud: Cloud) -> None:
    await cloud.zone(guests_only=True)
    await cloud.store.run(to_operators)
    await cloud.store.run(raise_all)
    await cloud.until(all_mailed)
    assert SUBJECTS == list(dict.fromkeys(cloud.mailbox.subjects))
    assert 3 == len({message["Message-ID"] for message in cloud.mailbox.letters}), "a letter that comes again is the same one"
    assert len(cloud.mailbox.letters) <= 4, "one death repeats one letter at most"


async def _stop(cloud: Cloud, _name: str) -> None:
    """The server stands still for longer than its session lives, and another one mails."""
    await cloud.clock.sleep(8)


@pytest.mark.parametrize("strike", [crash, _stop])
def test_each_alert_is_mailed_whatever_dies(strike: Strike):
    """Before a letter is handed in, between that and the note of it, and afterwards."""
    assert everywhere(_story, strike, at=POINTS) >= 9


def mails(story: Any) -> None:
    """A story in which alerts are mailed from its beginning."""

    async def told(tale: Tale) -> None:
        await tale.cloud.store.run(to_operators)
        await story(tale)

    tell(told, guests_only=True)


def test_a_letter_says_what_where_and_when():
    """And whom it is from, with a sender of its own or without."""

    async def story(tale: Tale) -> None:
        zone = await tale.one("listZones")
        await tale.ask("generateAlert", name="ALERT.TEST", description="look\nhere", type=7, zoneid=zone["id"])
        await tale.until(all_mailed)
        (letter,) = tale.cloud.mailbox.letters
        (row,) = await tale.ask("listAlerts", name="ALERT.TEST")
        assert ("ops@example.com", "ops@example.com, night@example.com") == (letter["From"], letter["To"])
        assert "look here" == letter["Subject"]
        assert f"<{row['id']}@example.com>" == letter["Message-ID"]
        for words in ("look\nhere", "ALERT.TEST (7)", f"Zone: {zone['name']}", row["id"]):
            assert words in letter.get_content()
        await tale.ask("updateConfiguration", name="alert.email.sender", value="cloud@example.org")
        await tale.ask("generateAlert", name="ALERT.TEST", description="again", type=7)
        await tale.until(all_mailed)
        assert "cloud@example.org" == tale.cloud.mailbox.letters[1]["From"]

    mails(story)


def test_a_condition_that_lasts_is_one_letter():
    """It is counted on its alert."""

    async def story(tale: Tale) -> None:
        for _ in range(3):
            await tale.cloud.store.run(raise_all)
            await tale.until(all_mailed)
        assert SUBJECTS == tale.cloud.mailbox.subjects

    mails(story)


def test_a_mail_server_that_is_away_is_told_and_gets_all_when_it_is_back():
    """The reason stands in the list of alerts; that alert is mailed, too."""

    async def story(tale: Tale) -> None:
        mailbox = tale.cloud.mailbox
        mailbox.away = "mail server localhost:465: Connection refused"
        await tale.cloud.store.run(raise_all)
        await tale.cloud.clock.sleep(3600)
        told = [text for text in await tale.alerts() if text not in SUBJECTS]
        assert [f"Alerts are not mailed: {mailbox.away}"] == told
        assert 40 < len(mailbox.servers) < 120, "about one try a minute"
        mailbox.away = ""
        await tale.until(all_mailed)
        assert SUBJECTS + told == mailbox.subjects

    mails(story)


def test_what_could_not_be_mailed_for_a_day_is_no_news():
    """It is not tried any more."""

    async def story(tale: Tale) -> None:
        tale.cloud.mailbox.away = "gone"
        await tale.cloud.store.run(raise_all)
        await tale.cloud.clock.sleep(60)
        long_ago = tale.cloud.clock.now() - alert_mail.MAILED_FOR_S
        await tale.cloud.store.run(
            lambda tx: tx.sql("update alert set sent = :long_ago where subject <> 'the third'", long_ago=long_ago)
        )
        await tale.cloud.clock.sleep(60)
        assert {"the third", "Alerts are not mailed: gone"} >= {
            row.subject for row in await tale.rows(tables.alert, tables.alert.c.to_mail)
        }
        tale.cloud.mailbox.away = ""
        await tale.until(all_mailed)
        assert "the third" == tale.cloud.mailbox.subjects[0]
        assert not {"the first", "the second"} & set(tale.cloud.mailbox.subjects)

    mails(story)


def test_a_letter_that_nobody_will_ever_take_does_not_hold_up_the_others():
    """The mail server's words are an alert of their own."""

    async def story(tale: Tale) -> None:
        tale.cloud.mailbox.refuses["the second"] = "mail server localhost:465 refuses a letter: 554 spam"
        await tale.cloud.store.run(raise_all)
        await tale.until(all_mailed)
        told = "Alerts are not mailed: mail server localhost:465 refuses a letter: 554 spam"
        assert ["the first", "the third", told] == tale.cloud.mailbox.subjects

    mails(story)


def test_only_what_is_raised_while_somebody_is_to_have_it_is_mailed():
    """Neither what stood before, nor what waits when nobody is to have mail any more."""

    async def story(tale: Tale) -> None:
        await tale.cloud.store.run(lambda tx: alerts.raise_alert(tx, AlertType.HOST, "before"))
        await tale.cloud.store.run(to_operators)
        tale.cloud.mailbox.away = "gone"
        await tale.cloud.store.run(lambda tx: alerts.raise_alert(tx, AlertType.HOST, "meanwhile"))
        await tale.cloud.clock.sleep(60)
        await tale.ask("updateConfiguration", name="alert.email.addresses", value="")
        await tale.until(all_mailed)
        tale.cloud.mailbox.away = ""
        await tale.cloud.store.run(to_operators)
        await tale.cloud.clock.sleep(120)
        assert [] == tale.cloud.mailbox.subjects

    tell(story, guests_only=True)


def test_how_the_mail_server_is_reached():
    """A password goes nowhere unless a login is wanted."""

    async def story(tale: Tale) -> None:
        given = {"host": "mail.example.com", "port": 587, "username": "u", "password": "p", "timeout": 5000}
        for name, value in given.items():
            await tale.ask("updateConfiguration", name=f"alert.smtp.{name}", value=value)
        await tale.ask("generateAlert", name="a", description="without", type=7)
        await tale.until(all_mailed)
        await tale.ask("updateConfiguration", name="alert.smtp.useAuth", value="true")
        await tale.ask("generateAlert", name="a", description="with", type=7)
        await tale.until(all_mailed)
        without, with_ = tale.cloud.mailbox.servers
        assert ("mail.example.com", 587, 5.0, "", "") == (
            without.host, without.port, without.timeout_s, without.user, without.password,
        )  # fmt: skip
        assert ("u", "p") == (with_.user, with_.password)
        assert "'p'" not in repr(with_)

    mails(story)


def test_settings_of_an_earlier_release_that_make_no_sense_are_told():
    """They could be set to anything then."""

    async def story(tale: Tale) -> None:
        await tale.cloud.store.run(lambda tx: to_operators(tx, "nobody in particular"))
        await tale.ask("generateAlert", name="a", description="x", type=7)
        await tale.cloud.clock.sleep(60)
        assert any("Alerts are not mailed: alert.email.addresses" in text for text in await tale.alerts())

    tell(story, guests_only=True)
