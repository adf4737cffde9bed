"""What a guest is handed: user data, SSH keys, a password. Resolved from the parameters that several commands share."""

import string
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from sysvm.api.call import Call, Owner
from sysvm.api.rules import guests as rules
from sysvm.api.rules import vm_passwords
from sysvm.basics.errors import Refused
from sysvm.store import tables
from sysvm.store.queries import settings
from sysvm.store.queries.guests import ENCRYPTED_PASSWORD, KEY_NAMES
from sysvm.store.store import Row

SEALED_PASSWORD = "sealed_password"  # a parameter of jobs that made a password
# Without what is easily mistaken for something else when it is read from a screen.
LETTERS = "".join(set(string.ascii_letters + string.digits) - set("0O1lI"))


@dataclass(frozen=True, slots=True)
class Keys:
    """SSH keys by name."""

    names: tuple[str, ...] = ()
    public: tuple[str, ...] = ()

    def columns(self, details: dict[str, Any] | None) -> dict[str, Any]:
        """What a machine's row holds of them."""
        kept = {name: value for name, value in (details or {}).items() if name != KEY_NAMES}
        if self.names:
            kept[KEY_NAMES] = ",".join(self.names)
        return {"key_pairs": list(self.public), "details": kept}


def keys(call: Call, owner: Owner) -> Keys:
    """The keys of `keypair` and `keypairs`."""
    names = tuple(dict.fromkeys(filter(None, (call.get("keypair"), *call.get("keypairs", ())))))
    table = tables.ssh_key_pair.c
    public = []
    for name in names:
        found = call.tx.value(
            sa.select(table.public_key).where(table.name == name, table.account_id == owner.account_id, table.removed.is_(None))
        )
        if found is None:
            raise Refused(f"A key pair with name '{name}' does not exist for the account of the vm")
        public.append(found)
    return Keys(names, tuple(public))


def user_data(call: Call) -> dict[str, Any]:
    """The columns of `userdata` or `userdataid`; nothing when neither is given."""
    linked = call.row(tables.user_data, "userdataid")
    if linked is not None and call.get("userdata"):
        raise Refused("Both userdata and userdata ID inputs are not allowed, please provide only one")
    if linked is not None:
        return {"userdata": linked.userdata, "user_data_id": linked.id}
    if "userdata" in call:
        return {"userdata": rules.user_data(call["userdata"]), "user_data_id": None}
    return {}


def new_password(call: Call) -> str:
    """A random one with at least one letter of each case and one digit."""
    length = max(6, int(settings.value(call.tx, "vm.password.length")))
    alphabet = sorted(LETTERS)
    while True:
        text = "".join(alphabet[call.ids.number(len(alphabet))] for _ in range(length))
        if any(c.islower() for c in text) and any(c.isupper() for c in text) and any(c.isdigit() for c in text):
            return text


def password_columns(call: Call, template: Row | None, given: str | None = None) -> dict[str, Any]:
    """A sealed password for a guest whose template asks for one; else nothing."""
    if template is None or not template.password_enabled:
        return {}
    return {"password": call.vault.seal(given or new_password(call))}


def with_password(call: Call, columns: dict[str, Any], sealed: str | None) -> dict[str, Any]:
    """The columns of keys, with a new password readable for whoever has a private one: see getVMPassword."""
    if not sealed:
        return columns
    details = {name: value for name, value in (columns["details"] or {}).items() if name != ENCRYPTED_PASSWORD}
    locked = vm_passwords.encrypt(call.vault.open(sealed), columns["key_pairs"] or ())
    return {**columns, "details": {**details, ENCRYPTED_PASSWORD: locked} if locked else details}


def secret_params(sealed: str | None) -> dict[str, str]:
    """What a job keeps to show a new password once."""
    return {SEALED_PASSWORD: sealed} if sealed else {}
