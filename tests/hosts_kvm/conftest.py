"""QEMU runs in these tests as users of its own."""

from tests.hosts_kvm.own_folder import tmp_path

__all__ = ["tmp_path"]
