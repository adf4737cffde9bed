"""Service providers of physical networks, and the virtual router element behind one."""

from typing import Any

import sqlalchemy as sa

from sysvm.api import errors
from sysvm.api.answers import physical_networks as answers
from sysvm.api.answers.lists import each
from sysvm.api.call import Accepted, Call, Reply
from sysvm.api.commands.infrastructure.physical_networks import add_provider
from sysvm.api.handlers import handler, result
from sysvm.api.listing import list_rows, slice_rows
from sysvm.api.rules import services
from sysvm.basics.errors import Refused, Why
from sysvm.store import tables
from sysvm.store.queries import physical_networks, zones
from sysvm.store.queries.events import About
from sysvm.store.store import Row, Tx

STATES = {"enabled": "Enabled", "disabled": "Disabled", "shutdown": "Shutdown"}
WITH_ELEMENT = (services.ROUTER, services.VPC_ROUTER)


@handler("listNetworkServiceProviders")
def list_providers(call: Call) -> Reply:
    """Providers of a physical network, or of all."""
    provider = tables.service_provider
    equal = {"name": provider.c.name, "state": provider.c.state}
    refs = {"physicalnetworkid": (tables.physical_network, provider.c.physical_network_id)}
    return list_rows(call, physical_networks.providers(), provider, each(answers.provider), equal=equal, refs=refs)


@handler("addNetworkServiceProvider")
def create_provider(call: Call) -> Reply:
    """A provider that the physical network does not have yet."""
    network = call.need(tables.physical_network, "physicalnetworkid")
    name = services.provider(call["name"])
    provider = tables.service_provider
    if zones.living(call.tx, provider, provider.c.physical_network_id == network.id, provider.c.name == name):
        raise Refused(f"The '{name}' provider already exists on physical network : {network.name}")
    provider_id = add_provider(call, network.id, name, _services(call, name))
    row = call.tx.get(provider, provider_id)
    assert row is not None
    return Accepted((), call.about("NetworkServiceProvider", row), f"Adding provider {name} to {network.name}")


def _services(call: Call, name: str) -> tuple[str, ...]:
    chosen = tuple(services.service(given) for given in call.get("servicelist", ()))
    for given in chosen:
        if given not in services.PROVIDERS[name]:
            raise Refused(f"Provider {name} doesn't support service {given}")
    return chosen


@result("addNetworkServiceProvider", "updateNetworkServiceProvider")
def _result(tx: Tx, job: Row) -> dict[str, Any]:
    row = tx.one(physical_networks.providers().where(tables.service_provider.c.id == job.instance_id))
    return answers.provider(row) if row is not None else {}


@handler("updateNetworkServiceProvider")
def update_provider(call: Call) -> Reply:
    """Enables or disables a provider. One with an element can be enabled once that is configured."""
    provider = call.need(tables.service_provider, "id")
    changes: dict[str, Any] = {}
    if call.get("state"):
        state = STATES.get(call["state"].strip().lower())
        if state is None:
            raise Refused(f"Unable to resolve state '{call['state']}'; it is Enabled, Disabled or Shutdown")
        if state == "Enabled" and provider.name in WITH_ELEMENT and not provider.element_enabled:
            raise Refused(
                f"Provider is not ready, cannot Enable the provider {provider.name}, please configure the provider first "
                "(configureVirtualRouterElement(enabled=true))"
            )
        changes["state"] = state
    if call.get("servicelist"):
        changes["services"] = list(_services(call, provider.name))
    if changes:
        call.tx.update(tables.service_provider, provider.id, **changes)
    return Accepted((), call.about("NetworkServiceProvider", provider), f"Changing provider {provider.name}")


@handler("deleteNetworkServiceProvider")
def delete_provider(call: Call) -> Reply:
    """Removes a provider on whose physical network no network is left."""
    provider = call.need(tables.service_provider, "id")
    network = tables.network
    if count := zones.living(call.tx, network, network.c.physical_network_id == provider.physical_network_id):
        raise Refused(f"Provider is not deletable because there are {count} networks on its physical network", Why.IN_USE)
    call.tx.update(tables.service_provider, provider.id, removed=call.now, state="Shutdown")
    return Accepted((), call.about("NetworkServiceProvider", provider), f"Deleting provider {provider.name}")


# ---------------------------------------------------------------- the virtual router element
def _elements() -> sa.Select[Any]:
    return physical_networks.providers().where(tables.service_provider.c.name.in_(WITH_ELEMENT))


def _element(call: Call) -> Row:
    provider = tables.service_provider
    found = call.tx.one(_elements().where(provider.c.element_uuid == call["id"]))
    if found is None:
        raise errors.unknown_entity(call.command.name, "id", call["id"])
    return found


@handler("listVirtualRouterElements")
def list_elements(call: Call) -> Reply:
    """The elements behind VirtualRouter and VpcVirtualRouter."""
    provider = tables.service_provider
    statement = _elements()
    if call.get("id"):
        statement = statement.where(provider.c.id == _element(call).id)
    if (named := call.row(provider, "nspid")) is not None:
        statement = statement.where(provider.c.id == named.id)
    if "enabled" in call:
        statement = statement.where(provider.c.element_enabled.is_(call["enabled"]))
    return slice_rows(call, [answers.element(row) for row in call.tx.all(statement)])


@handler("configureVirtualRouterElement")
def configure_element(call: Call) -> Reply:
    """Switches the element on or off; off also disables its provider."""
    row = _element(call)
    changes: dict[str, Any] = {"element_enabled": call["enabled"]}
    if not call["enabled"]:
        changes["state"] = "Disabled"
    call.tx.update(tables.service_provider, row.id, **changes)
    about = About("VirtualRouterProvider", row.id, row.element_uuid, row.name)
    return Accepted((), about, f"Configuring the element of {row.name}")


@handler("createVirtualRouterElement")
def create_element(call: Call) -> Reply:
    """The element of a provider; each has one from the beginning, so this names it."""
    provider = call.need(tables.service_provider, "nspid")
    if provider.name not in WITH_ELEMENT:
        raise Refused(f"The provider {provider.name} has no virtual router element")
    about = About("VirtualRouterProvider", provider.id, provider.element_uuid, provider.name)
    return Accepted((), about, f"Creating the element of {provider.name}")


@result("configureVirtualRouterElement", "createVirtualRouterElement")
def _element_result(tx: Tx, job: Row) -> dict[str, Any]:
    row = tx.one(_elements().where(tables.service_provider.c.id == job.instance_id))
    return answers.element(row) if row is not None else {}


# ---------------------------------------------------------------- what there is to provide
@handler("listSupportedNetworkServices")
def list_services(call: Call) -> Reply:
    """Network services with their providers and capabilities."""
    by_provider = services.provider(call["provider"]) if call.get("provider") else None
    by_service = services.service(call["service"]) if call.get("service") else None
    rows = []
    for name in services.SERVICES:
        providers = [who for who, theirs in services.PROVIDERS.items() if name in theirs]
        if (by_service and name != by_service) or (by_provider and by_provider not in providers):
            continue
        word = call.get("keyword")
        if not word or word.lower() in name.lower():
            shown = [_plain_provider(who) for who in providers if not by_provider or who == by_provider]
            rows.append(answers.service(name, shown))
    return slice_rows(call, rows)


def _plain_provider(name: str) -> dict[str, Any]:
    return {
        "name": name,
        "servicelist": list(services.PROVIDERS[name]),
        "canenableindividualservice": name != services.SECURITY_GROUPS,
    }
