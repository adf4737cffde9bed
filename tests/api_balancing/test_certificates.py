"""Certificates of users: what fits together is kept sealed, what does not is refused, what is in use stays."""

from collections.abc import Callable

import pytest
import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric import rsa

from sysvm.store import tables
from tests.api.rows import assert_row_matches_catalogue
from tests.api.stage import refusal
from tests.api_balancing.conftest import Scene
from tests.api_balancing.test_rules import facts
from tests.certificates.authority import NOW, Made, locked, make, server, traditional


@pytest.fixture
def chain(scene: Scene) -> tuple[Made, Made, Made]:
    """A root, an intermediate and a server certificate, valid at the scene's time."""
    shift = scene.land.stage.clock.now() - NOW
    root = make("root", begin=shift - 86400)
    middle = make("middle", root, begin=shift - 86400)
    return root, middle, server(middle, "shop.example.org", begin=shift - 86400)


async def upload(scene: Scene, made: Made, **more: str) -> dict[str, str]:
    """The certificate as the answer shows it."""
    given = {"name": "shop", "certificate": made.pem, "privatekey": made.key_pem, **more}
    row: dict[str, str] = await scene.land.admin("uploadSslCert", **given)
    return row


async def test_a_certificate_is_kept_and_its_key_is_sealed(scene: Scene, chain: tuple[Made, Made, Made]):
    root, middle, leaf = chain
    row = await upload(scene, leaf, certchain=root.pem + middle.pem)
    assert_row_matches_catalogue("uploadSslCert", row)
    assert (leaf.pem, middle.pem + root.pem) == (row["certificate"], row["certchain"]), "the chain in the handshake's order"
    assert "privatekey" not in row
    (kept,) = await scene.land.rows(sa.select(tables.ssl_certificate))
    assert "PRIVATE KEY" not in kept.private_key
    assert leaf.key_pem == scene.land.stage.vault.open(kept.private_key)
    assert [row] == await scene.land.admin("listSslCerts")
    assert [row] == await scene.land.admin("listSslCerts", certid=row["id"])


@pytest.mark.parametrize(
    ("form", "password"),
    [(traditional, None), (lambda key: traditional(key, b"secret"), "secret"), (locked, "password")],
    ids=["pkcs1", "pkcs1-password", "pkcs8-password"],
)
async def test_keys_come_in_several_forms(
    scene: Scene, chain: tuple[Made, Made, Made], form: Callable[[object], str], password: str | None
):
    _, _, leaf = chain
    await upload(scene, leaf, privatekey=form(leaf.key), **({"password": password} if password else {}))
    (kept,) = await scene.land.rows(sa.select(tables.ssl_certificate))
    assert leaf.key_pem == scene.land.stage.vault.open(kept.private_key), "kept without its password"


async def test_what_does_not_fit_is_refused(scene: Scene, chain: tuple[Made, Made, Made]):
    root, middle, leaf = chain
    shift = scene.land.stage.clock.now() - NOW
    other = make("other", begin=shift - 86400)
    short = rsa.generate_private_key(65537, 1024)
    table = [
        ({"privatekey": other.key_pem}, "Bad public-private key"),
        ({"privatekey": locked(leaf.key)}, "has a password"),
        ({"privatekey": locked(leaf.key), "password": "wrong"}, "Parsing certificate/key failed"),
        ({"privatekey": leaf.key_pem, "password": "none"}, "has no password"),
        ({"privatekey": "nonsense"}, "Parsing certificate/key failed"),
        ({"privatekey": traditional(short)}, "1024 bits"),
        ({"certificate": "nonsense"}, "Parsing certificate/key failed"),
        ({"certchain": "nonsense"}, "holds no PEM certificates"),
        ({"certchain": root.pem}, "Invalid certificate chain"),
        ({"certchain": middle.pem + other.pem}, "Invalid certificate chain"),
    ]
    for given, text in table:
        with refusal(431, text):
            await upload(scene, leaf, **given)
    old = server(middle, begin=shift - 40 * 86400, days=20)
    with refusal(431, "expired or not valid yet"):
        await upload(scene, old)
    assert [] == await scene.land.admin("listSslCerts")


async def test_a_rule_shows_its_certificate(scene: Scene, chain: tuple[Made, Made, Made]):
    """The router gets chain and key; a certificate in use is not deleted."""
    land, (_, middle, leaf) = scene.land, chain
    row = await upload(scene, leaf, certchain=middle.pem)
    rule = await scene.rule(publicport=443, protocol="ssl")
    accepted = await land.admin("assignCertToLoadBalancer", lbruleid=rule["id"], certid=row["id"])
    assert [("machine", "live")] == await land.open_parts(accepted["jobid"])
    await land.serve(accepted["jobid"])
    found = await facts(scene)
    assert found is not None
    certificate = found.rules[0].certificate
    assert certificate is not None
    assert (leaf.pem + middle.pem, leaf.key_pem) == (certificate.chain, certificate.key)
    (shown,) = await land.admin("listSslCerts", lbruleid=rule["id"])
    assert [rule["id"]] == shown["loadbalancerrulelist"]
    with refusal(536, "in use by a loadbalancer"):
        await land.admin("deleteSslCert", id=row["id"])
    with refusal(431, "already bound"):
        await land.admin("assignCertToLoadBalancer", lbruleid=rule["id"], certid=row["id"])
    with refusal(431, "has a certificate"):
        await land.admin("updateLoadBalancerRule", id=rule["id"], protocol="tcp")
    await land.serve((await land.admin("removeCertFromLoadBalancer", lbruleid=rule["id"]))["jobid"])
    with refusal(431, "No certificate is bound"):
        await land.admin("removeCertFromLoadBalancer", lbruleid=rule["id"])
    await land.admin("deleteSslCert", id=row["id"])
    assert [] == await land.admin("listSslCerts")
    (kept,) = await land.rows(sa.select(tables.ssl_certificate))
    assert "" == kept.private_key, "its key is gone for good"


async def test_only_a_rule_that_ends_tls_shows_one(scene: Scene, chain: tuple[Made, Made, Made]):
    row = await upload(scene, chain[2])
    rule = await scene.rule()
    with refusal(431, "not ssl"):
        await scene.land.admin("assignCertToLoadBalancer", lbruleid=rule["id"], certid=row["id"])


async def test_a_certificate_goes_with_its_account(scene: Scene, chain: tuple[Made, Made, Made]):
    """Its key too, at once; a router that still shows it is told of none."""
    land = scene.land
    user = await land.stage.user("leaver")
    network = await land.network(user, name="own")
    await land.deploy(user, networkids=network["id"], name="own")
    address = await land.public_ip(await land.implemented(network["id"]), user)
    row = await user("uploadSslCert", name="own", certificate=chain[2].pem, privatekey=chain[2].key_pem)
    rule = await land.job("createLoadBalancerRule", who=user, **scene.given(publicipid=address["id"], protocol="ssl"))
    await user("assignCertToLoadBalancer", lbruleid=rule["id"], certid=row["id"])
    scene.network = network
    found = await facts(scene)
    assert found is not None and found.rules[0].certificate is not None
    (account,) = await land.admin("listAccounts", name=user.account, listall=True)
    await land.admin("deleteAccount", id=account["id"])
    assert {""} == {kept.private_key for kept in await land.rows(sa.select(tables.ssl_certificate))}
    found = await facts(scene)
    assert found is None or found.rules[0].certificate is None


async def test_a_certificate_is_its_owners(scene: Scene, chain: tuple[Made, Made, Made]):
    row = await upload(scene, chain[2])
    stranger = await scene.land.stage.user("stranger")
    assert [] == await stranger("listSslCerts")
    with refusal(531):
        await stranger("deleteSslCert", id=row["id"])
    with refusal(531):
        await stranger("listSslCerts", certid=row["id"])
