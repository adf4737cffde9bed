"""An empty cloud: what every database begins with. Sowing twice changes nothing.

The order decides the ids that clients know: domain ROOT, the roles 1 to 4, accounts and users 1 (system) and 2 (admin).
To give every cloud something more, add a function of a transaction to STEPS.
"""

import uuid
from collections.abc import Callable

import sqlalchemy as sa

from sysvm.basics.ids import Ids
from sysvm.store import seeds_offerings, tables
from sysvm.store.secrets import Vault
from sysvm.store.store import Tx

Step = Callable[[Tx, Ids], None]
ROOT_DOMAIN, SYSTEM_ACCOUNT, ADMIN_ACCOUNT = 1, 1, 2
ROOT_PATH = "/1/"
KNOWN_TEXT = "sysvm"  # sealed in the cloud's row: tells a wrong key at start
LOCKED = "!"  # no password has this hash

ROLES = (
    ("Root Admin", "Admin", "Default root admin role"),
    ("Resource Admin", "ResourceAdmin", "Default resource admin role"),
    ("Domain Admin", "DomainAdmin", "Default domain admin role"),
    ("User", "User", "Default user role"),
)
GUEST_OS = {
    "Debian": ("Debian GNU/Linux 7(64-bit)", "Debian GNU/Linux 8 (64-bit)", "Debian GNU/Linux 9 (64-bit)",
               "Debian GNU/Linux 10 (64-bit)", "Debian GNU/Linux 11 (64-bit)", "Debian GNU/Linux 12 (64-bit)",
               "Debian GNU/Linux 13 (64-bit)", "Other Debian (64-bit)"),
    "Ubuntu": ("Ubuntu 14.04 (64-bit)", "Ubuntu 16.04 (64-bit)", "Ubuntu 18.04 (64-bit)", "Ubuntu 18.04 LTS",
               "Ubuntu 20.04 LTS", "Ubuntu 22.04 LTS", "Ubuntu 24.04 LTS", "Other Ubuntu (64-bit)"),
    "CentOS": ("CentOS 5.3 (64-bit)", "CentOS 5.5 (64-bit)", "CentOS 5.6 (64-bit)", "CentOS 6.0 (64-bit)",
               "CentOS 6.3 (64-bit)", "CentOS 6.5 (64-bit)", "CentOS 7", "CentOS 7.9 (64-bit)", "CentOS 8",
               "CentOS Stream 8", "CentOS Stream 9", "Other CentOS (64-bit)"),
    "RedHat": ("Red Hat Enterprise Linux 6.0 (64-bit)", "Red Hat Enterprise Linux 7", "Red Hat Enterprise Linux 7.0",
               "Red Hat Enterprise Linux 8.0", "Red Hat Enterprise Linux 8.x", "Red Hat Enterprise Linux 9.x",
               "Rocky Linux 8", "Rocky Linux 9", "AlmaLinux 8", "AlmaLinux 9", "Fedora Linux (64-bit)"),
    "SUSE": ("SUSE Linux Enterprise Server 12 (64-bit)", "SUSE Linux Enterprise Server 15 (64-bit)",
             "openSUSE Leap 15 (64-bit)"),
    "Oracle": ("Oracle Linux 7", "Oracle Linux 8", "Oracle Linux 9"),
    "Windows": ("Windows 7 (64-bit)", "Windows 8 (64-bit)", "Windows 10 (64-bit)", "Windows 11 (64-bit)",
                "Windows Server 2008 R2 (64-bit)", "Windows Server 2012 (64-bit)", "Windows Server 2012 R2 (64-bit)",
                "Windows Server 2016 (64-bit)", "Windows Server 2019 (64-bit)", "Windows Server 2022 (64-bit)",
                "Windows PV"),
    "Unix": ("FreeBSD 11 (64-bit)", "FreeBSD 12 (64-bit)", "FreeBSD 13 (64-bit)", "FreeBSD 14 (64-bit)"),
    "Other": ("Other (64-bit)", "Other (32-bit)", "Other Linux (64-bit)", "Other Linux (32-bit)", "Other PV (64-bit)",
              "Other PV (32-bit)", "Other PV Virtio-SCSI (64-bit)", "None"),
}  # fmt: skip
# The same ids in every cloud: scripts and module defaults may hold them.
GUEST_OS_IDS = uuid.UUID("6f3c1a52-2e0e-5b0a-9b8e-2f6d2f1a7c11")


def roles(tx: Tx, ids: Ids) -> None:
    """The default roles, in the order of their well-known ids."""
    for name, type_, description in ROLES:
        tx.insert(tables.role, uuid=ids.uuid(), name=name, type=type_, description=description, is_default=True,
                  by_type=True, created=tx.now)  # fmt: skip


def root_domain(tx: Tx, ids: Ids) -> None:
    """ROOT."""
    tx.insert(tables.domain, uuid=ids.uuid(), name="ROOT", path="ROOT", id_path=ROOT_PATH, level=0, created=tx.now)


def accounts(tx: Tx, ids: Ids) -> None:
    """system, which does what nobody asked for, and admin; neither has a password yet."""
    for name, first, last in (("system", "system", "cloud"), ("admin", "admin", "cloud")):
        account = tx.insert(tables.account, uuid=ids.uuid(), name=name, type=1, role_id=1, domain_id=ROOT_DOMAIN,
                            domain_path=ROOT_PATH, created=tx.now)  # fmt: skip
        tx.insert(tables.user, uuid=ids.uuid(), username=name, password_hash=LOCKED, account_id=account,
                  firstname=first, lastname=last, created=tx.now)  # fmt: skip


def guest_os_types(tx: Tx, _ids: Ids) -> None:
    """What templates can say that they hold."""
    for category, names in GUEST_OS.items():
        for name in names:
            tx.insert(tables.guest_os, uuid=str(uuid.uuid5(GUEST_OS_IDS, name)), name=name, category=category,
                      category_uuid=str(uuid.uuid5(GUEST_OS_IDS, f"category/{category}")), created=tx.now)  # fmt: skip


def security_groups(tx: Tx, ids: Ids) -> None:
    """The administrator's default group; other accounts get theirs when they are made."""
    tx.insert(tables.security_group, uuid=ids.uuid(), name="default", description="Default Security Group",
              account_id=ADMIN_ACCOUNT, domain_id=ROOT_DOMAIN, domain_path=ROOT_PATH, created=tx.now)  # fmt: skip


def network_acl_lists(tx: Tx, ids: Ids) -> None:
    """The two that tiers of all VPCs may have."""
    system = {"account_id": SYSTEM_ACCOUNT, "domain_id": ROOT_DOMAIN, "domain_path": ROOT_PATH, "created": tx.now}
    for action in ("Deny", "Allow"):
        name, text = f"default_{action.lower()}", f"Default Network ACL {action} All"
        list_id = tx.insert(tables.network_acl_list, uuid=ids.uuid(), name=name, description=text, **system)
        for number, way in ((1, "Ingress"), (2, "Egress")):
            tx.insert(tables.network_acl, uuid=ids.uuid(), acl_list_id=list_id, number=number, action=action,
                      traffic_type=way, protocol="all", sources=["0.0.0.0/0"], state="Active", **system)  # fmt: skip


STEPS: list[Step] = [
    roles, root_domain, accounts, guest_os_types, *seeds_offerings.STEPS, security_groups, network_acl_lists,
]  # fmt: skip


def is_sown(tx: Tx) -> bool:
    """Whether this database is a cloud already."""
    return tx.value(sa.select(tables.cloud.c.id)) is not None


def sow(tx: Tx, ids: Ids, vault: Vault, *, version: str, admin_password_hash: str) -> bool:
    """Fills an empty database; False when it is a cloud already."""
    if tx.value(sa.select(tables.cloud.c.id)) is not None:
        return False
    _count_from_one(tx)
    tx.insert(tables.cloud, uuid=ids.uuid(), epoch=1, version=version, secrets_check=vault.seal(KNOWN_TEXT),
              created=tx.now)  # fmt: skip
    for step in STEPS:
        step(tx, ids)
    tx.update(tables.user, ADMIN_ACCOUNT, password_hash=admin_password_hash)
    return True


def _count_from_one(tx: Tx) -> None:
    """A try that was undone may have taken the first numbers; PostgreSQL does not give them back."""
    if tx.connection.dialect.name == "postgresql":
        for table in (tables.cloud, tables.domain, tables.role, tables.account, tables.user):
            tx.sql(f"select setval(pg_get_serial_sequence('\"{table.name}\"', 'id'), 1, false)")


def check_key(tx: Tx, vault: Vault) -> None:
    """Raises WrongKey when the vault cannot open this cloud's secrets."""
    sealed = tx.value(sa.select(tables.cloud.c.secrets_check))
    if sealed is not None:
        vault.open(sealed)
