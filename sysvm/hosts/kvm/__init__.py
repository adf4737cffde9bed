"""Machines as QEMU processes under a private libvirtd: with KVM where it is proved to work, emulated (TCG) elsewhere.

- `domain.py`      a machine's spec -> libvirt's XML, and back from its metadata (pure)
- `media.py`       boot disk and state disk of system VMs
- `daemon.py`      the libvirtd of this state folder, in the host's network namespace
- `connection.py`  libvirt's blocking calls from asyncio, and its events
- `driver.py`      the driver contract
- `probe.py`       whether /dev/kvm really runs a guest (`tinyboot.py`: the guest that it boots)
- `down.py`        removing everything, without libvirt's help
"""
