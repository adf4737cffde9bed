"""The catalogue says what it says consistently, and every handler has its declaration."""

import pytest

from sysvm.api import catalogue, handlers

TYPES = {"string", "uuid", "integer", "long", "short", "float", "boolean", "list", "map", "date"}
FIELD_TYPES = {"string", "boolean", "integer", "long", "short", "float", "date", "list", "map", "object"}

ODDITIES = {
    "scaleSystemVm": "changeserviceforsystemvmresponse",
    "listInternalLoadBalancerVMs": "listinternallbvmsresponse",
    "startInternalLoadBalancerVM": "startinternallbvmresponse",
    "stopInternalLoadBalancerVM": "stopinternallbvmresponse",
    "getUploadParamsForTemplate": "postuploadtemplateresponse",
    "getUploadParamsForIso": "postuploadisoresponse",
    "getUploadParamsForVolume": "postuploadvolumeresponse",
    "restoreVirtualMachine": "restorevmresponse",
    "resetSSHKeyForVirtualMachine": "resetSSHKeyforvirtualmachineresponse",
    "addIpToNic": "addiptovmnicresponse",
    "updateVMAffinityGroup": "updatevirtualmachineresponse",
    "updateNetworkACLItem": "createnetworkaclresponse",
    "activateProject": "activaterojectresponse",
    "createLBStickinessPolicy": "createLBStickinessPolicy",
    "deleteLBStickinessPolicy": "deleteLBstickinessrruleresponse",
    "enableStorageMaintenance": "prepareprimarystorageformaintenanceresponse",
    "cancelStorageMaintenance": "cancelprimarystoragemaintenanceresponse",
    "updateImageStore": "updateImageStore",
    "copyIso": "copytemplateresponse",
    "listPortableIpRanges": "listportableipresponse",
    "deletePortableIpRange": "deleteportablepublicipresponse",
    "listIsoPermissions": "listtemplatepermissionsresponse",
    "listLdapConfigurations": "ldapconfigurationresponse",
}
KEYS = {
    "listHosts": "host", "listSystemVms": "systemvm", "listRouters": "router",
    "listInternalLoadBalancerVMs": "internalloadbalancervm", "listPublicIpAddresses": "publicipaddress",
    "associateIpAddress": "ipaddress", "listEgressFirewallRules": "firewallrule",
    "createPortForwardingRule": "portforwardingrule", "createLoadBalancerRule": "loadbalancer",
    "listLoadBalancerRules": "loadbalancerrule", "listLBStickinessPolicies": "stickinesspolicies",
    "listVlanIpRanges": "vlaniprange", "createVlanIpRange": "vlan", "listTrafficTypes": "traffictype",
    "listSupportedNetworkServices": "networkservice", "listCapabilities": "capability", "listAsyncJobs": "asyncjobs",
    "listApis": "api", "createConsoleEndpoint": "consoleendpoint", "uploadCustomCertificate": "customcertificate",
    "getRouterHealthCheckResults": "routerhealthchecks", "upgradeRouterTemplate": "asyncjobs",
    "runDiagnostics": "diagnostics", "getUploadParamsForVolume": "getuploadparams", "issueCertificate": "certificates",
    "listCaCertificate": "cacertificates", "listCAProviders": "caprovider", "listEventTypes": "eventtype",
}  # fmt: skip


def test_envelopes_are_the_command_in_lower_case_but_for_the_known_oddities():
    """Clients read the first key that ends in response."""
    odd = {name: one.envelope for name, one in catalogue.commands().items() if one.envelope != f"{name.lower()}response"}
    assert odd == ODDITIES


@pytest.mark.parametrize(("name", "key"), KEYS.items())
def test_object_keys_that_are_not_the_obvious_singular(name: str, key: str):
    """As clients look for them."""
    assert key == catalogue.commands()[name].result


def test_every_declaration_can_be_read():
    """Known types, known shapes, known roles."""
    for command in catalogue.commands().values():
        assert {param.type for param in command.accepts().values()} <= TYPES, command.name
        assert command.roles in ("anyone", "all", "domain", "admin"), command.name
        assert command.kind in ("sync", "async", "create", "session"), command.name
        assert command.shape in catalogue.shapes(), command.name
        assert not command.is_async or command.event, f"{command.name} has no event"
    for name, fields in catalogue.shapes().items():
        assert {field.type for field in fields} <= FIELD_TYPES, name
        assert {field.shape for field in fields if field.shape} <= set(catalogue.shapes()), name


def test_every_change_that_can_be_made_writes_an_event():
    """Whoever changes something can be found; the exceptions change nothing that is somebody's."""
    silent = {
        name
        for name in handlers.names()
        if not (found := handlers.find(name)).reads and not catalogue.commands()[name].event and found is not None
    }
    assert silent <= {"archiveEvents", "deleteEvents", "updateResourceCount", "createConsoleEndpoint", "prepareTemplate",
                      "generateUsageRecords", "getRouterHealthCheckResults"}  # fmt: skip


def test_the_name_in_queryasyncjobresult_is_that_of_a_java_class():
    """Scripts look for the last word of it."""
    found = catalogue.commands()["startRouter"].java_class
    assert found == "org.apache.cloudstack.api.command.admin.router.StartRouterCmd"
