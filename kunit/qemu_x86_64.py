# SPDX-License-Identifier: GPL-2.0
# For kunit.py --qemu_config: a PC with two nodes. The second GiB of the first node is
# reserved, and the suites plug it; and the 66 MiB before, which share a section with
# boot memory, and an area of the largest pages, too. (Not hidden by mem=: what lies
# beyond that cannot be added before the system runs, and suites that are built in run
# before.) Most of the time goes into stack traces, and ORC is slow at them.
# pylint: disable=import-error
from ..qemu_config import QemuArchParams

QEMU_ARCH = QemuArchParams(linux_arch='x86_64',
                           kconfig='''
CONFIG_64BIT=y
CONFIG_SERIAL_8250=y
CONFIG_SERIAL_8250_CONSOLE=y
CONFIG_ACPI=y
CONFIG_ACPI_NUMA=y
CONFIG_X86_64_ACPI_NUMA=y
CONFIG_PCI=y
CONFIG_ARCH_MEMORY_PROBE=y
CONFIG_UNWINDER_FRAME_POINTER=y''',
                           qemu_arch='x86_64',
                           kernel_path='arch/x86/boot/bzImage',
                           kernel_command_line='console=ttyS0 nokaslr memmap=1090M$0x3be00000 '
                           'mhp_kunit.spare_start=0x3be00000 mhp_kunit.spare_size=0x44200000 '
                           'memory_hotplug.memmap_on_memory=1 '
                           'memory_hotplug.subsection=1 page_owner=on '
                           'panic=-1',
                           extra_qemu_params=['-machine', 'q35', '-cpu', 'max,la57=off',
                                              '-m', '2304M', '-smp', '2',
                                              '-object', 'memory-backend-ram,id=m0,size=2G',
                                              '-object', 'memory-backend-ram,id=m1,size=256M',
                                              '-numa', 'node,nodeid=0,memdev=m0',
                                              '-numa', 'node,nodeid=1,memdev=m1'])
