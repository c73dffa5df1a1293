// SPDX-License-Identifier: GPL-2.0
/*
 * ringpin - have memory pinned by an io_uring
 *
 * ringpin NODE START SIZE
 *
 * Takes memory of a node until some of its pages lie in the physical range, and
 * registers these as buffers of an io_uring; the others are given back. Says
 * "pinned PHYS", the address of the first. On SIGTERM it looks whether the buffers
 * are where they were and hold what they held, says "unchanged" or "bad ...", and
 * ends, and the ring with it.
 */

#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/io_uring.h>
#include <linux/mempolicy.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define PAGE	4096UL
#define BUFFERS	8
#define MOST	(1UL << 30)

static int pagemap;

static void die(const char *what)
{
	printf("bad %s: %m\n", what);
	exit(1);
}

static unsigned long phys_of(const char *page)
{
	unsigned long entry;

	if (pread(pagemap, &entry, 8, (unsigned long)page / PAGE * 8) != 8)
		die("pagemap");
	return entry >> 63 ? (entry & ((1UL << 55) - 1)) * PAGE : 0;
}

int main(int argc, char **argv)
{
	unsigned long start, size, nodes, where[BUFFERS];
	struct io_uring_params params = { 0 };
	struct iovec buffers[BUFFERS];
	char *mem, *page, *kept, word;
	int ring, nr = 0, i, number;
	sigset_t term;

	if (argc != 4) {
		fprintf(stderr, "usage: ringpin NODE START SIZE\n");
		return 2;
	}
	nodes = 1UL << strtoul(argv[1], NULL, 0);
	start = strtoul(argv[2], NULL, 0);
	size = strtoul(argv[3], NULL, 0);

	setvbuf(stdout, NULL, _IOLBF, 0);
	sigemptyset(&term);
	sigaddset(&term, SIGTERM);
	sigprocmask(SIG_BLOCK, &term, NULL);

	pagemap = open("/proc/self/pagemap", O_RDONLY);
	mem = mmap(NULL, MOST, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (pagemap < 0 || mem == MAP_FAILED)
		die("mmap");
	/* Of the pages alone: page tables are to come from elsewhere. */
	if (syscall(SYS_mbind, mem, MOST, MPOL_BIND, &nodes, 8 * sizeof(nodes), 0))
		die("mbind");
	for (page = mem; nr < BUFFERS && page < mem + MOST; page += PAGE) {
		memset(page, nr + 1, PAGE);
		where[nr] = phys_of(page);
		if (where[nr] - start < size) {
			buffers[nr].iov_base = page;
			buffers[nr++].iov_len = PAGE;
		}
	}
	for (i = 0, kept = mem; i < nr; i++, kept += PAGE) {
		page = buffers[i].iov_base;
		if (page > kept)
			munmap(kept, page - kept);
		kept = page;
	}
	munmap(kept, mem + MOST - kept);

	ring = syscall(SYS_io_uring_setup, 1, &params);
	if (ring < 0 || syscall(SYS_io_uring_register, ring, IORING_REGISTER_BUFFERS,
				buffers, nr))
		die("io_uring");
	printf("pinned %#lx\n", nr ? where[0] : 0);

	sigwait(&term, &number);
	for (i = 0; i < nr; i++) {
		page = buffers[i].iov_base;
		word = i + 1;
		if (phys_of(page) != where[i] || *page != word || memcmp(page, page + 1, PAGE - 1))
			die("buffer");
	}
	printf("unchanged\n");
	return 0;
}
