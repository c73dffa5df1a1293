# SPDX-License-Identifier: GPL-2.0
# For kunit.py --qemu_config: an arm64 machine with two nodes. mem= leaves to the kernel the
# first 960 MiB of it, so that the second node has a CPU and no memory. The suites plug the
# GiB that begins 64 MiB behind, and what is before it, which shares a section with boot
# memory. (Other than on x86, nothing refuses memory there before the system runs.)
# pylint: disable=import-error
from ..qemu_config import QemuArchParams

QEMU_ARCH = QemuArchParams(linux_arch='arm64',
                           kconfig='''
CONFIG_SERIAL_AMBA_PL010=y
CONFIG_SERIAL_AMBA_PL010_CONSOLE=y
CONFIG_SERIAL_AMBA_PL011=y
CONFIG_SERIAL_AMBA_PL011_CONSOLE=y
CONFIG_PCI=y''',
                           qemu_arch='aarch64',
                           kernel_path='arch/arm64/boot/Image.gz',
                           kernel_command_line='console=ttyAMA0 nokaslr mem=960M '
                           'mhp_kunit.spare_start=0x7c000000 mhp_kunit.spare_size=0x44000000 '
                           'memory_hotplug.memmap_on_memory=1 '
                           'memory_hotplug.subsection=1 page_owner=on '
                           'panic=-1',
                           extra_qemu_params=['-machine', 'virt', '-cpu', 'cortex-a57',
                                              '-m', '2304M', '-smp', '2',
                                              '-object', 'memory-backend-ram,id=m0,size=2G',
                                              '-object', 'memory-backend-ram,id=m1,size=256M',
                                              '-numa', 'node,nodeid=0,memdev=m0,cpus=0',
                                              '-numa', 'node,nodeid=1,memdev=m1,cpus=1'])
