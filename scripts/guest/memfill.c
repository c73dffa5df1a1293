// SPDX-License-Identifier: GPL-2.0
/*
 * memfill - hold memory that is filled with a pattern, and verify it
 *
 * memfill HOW SIZE SEED
 *
 * Maps SIZE bytes and fills each 8-byte word of them with a value that depends
 * on its place and SEED, and each page with a checksum. HOW is small (base
 * pages), thp (transparent huge pages), 2m or 1g (hugetlb). Prints "filled", and
 * "verified N" for each line "verify" on its input; "bad ..." and exit status 1
 * if a page does not hold what it should. On a line "where", it says "at PHYS VIRT",
 * the addresses of its first page. On a line "poison", that page is poisoned, and it
 * says "poisoned": then it can verify no more.
 */

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define PAGE_WORDS	(4096 / sizeof(unsigned long))
#define HUGE_SHIFT	26

static unsigned long mix(unsigned long x)
{
	x ^= x >> 30;
	x *= 0xbf58476d1ce4e5b9UL;
	x ^= x >> 27;
	x *= 0x94d049bb133111ebUL;
	return x ^ (x >> 31);
}

/* The words of a page follow from one another; the last one sums them up. */
static void fill_page(unsigned long *page, unsigned long start)
{
	unsigned long sum = 0, word = start;
	size_t i;

	for (i = 0; i < PAGE_WORDS - 1; i++) {
		word = word * 6364136223846793005UL + 1442695040888963407UL;
		page[i] = word;
		sum += word;
	}
	page[i] = sum ^ start;
}

static int check_page(const unsigned long *page, unsigned long start, size_t nr)
{
	unsigned long sum = 0, word = start;
	size_t i;

	for (i = 0; i < PAGE_WORDS - 1; i++) {
		word = word * 6364136223846793005UL + 1442695040888963407UL;
		if (page[i] != word) {
			printf("bad word %zu of page %zu: %#lx, not %#lx\n", i, nr,
			       page[i], word);
			return -1;
		}
		sum += word;
	}
	if (page[i] == (sum ^ start))
		return 0;
	printf("bad sum of page %zu\n", nr);
	return -1;
}

static unsigned long phys_of(const void *mem)
{
	int fd = open("/proc/self/pagemap", O_RDONLY);
	unsigned long entry = 0;

	if (pread(fd, &entry, 8, (unsigned long)mem / 4096 * 8) != 8 || !(entry >> 63))
		entry = 0;
	close(fd);
	return (entry & ((1UL << 55) - 1)) * 4096;
}

static void ignore(int number)
{
	(void)number;
}

int main(int argc, char **argv)
{
	int flags = MAP_PRIVATE | MAP_ANONYMOUS, rounds = 0;
	unsigned long *mem, seed;
	size_t size, pages, i;
	char line[32];

	if (argc != 4) {
		fprintf(stderr, "usage: memfill small|thp|2m|1g SIZE SEED\n");
		return 2;
	}
	size = strtoull(argv[2], NULL, 0);
	seed = strtoull(argv[3], NULL, 0);
	pages = size / 4096;
	if (!strcmp(argv[1], "2m"))
		flags |= MAP_HUGETLB | (21 << HUGE_SHIFT);
	else if (!strcmp(argv[1], "1g"))
		flags |= MAP_HUGETLB | (30 << HUGE_SHIFT);

	setvbuf(stdout, NULL, _IOLBF, 0);
	mem = mmap(NULL, size, PROT_READ | PROT_WRITE, flags, -1, 0);
	if (mem == MAP_FAILED) {
		perror("bad mmap");
		return 1;
	}
	if (!strcmp(argv[1], "thp") && madvise(mem, size, MADV_HUGEPAGE)) {
		perror("bad madvise");
		return 1;
	}

	for (i = 0; i < pages; i++)
		fill_page(mem + i * PAGE_WORDS, mix(seed + i));
	printf("filled\n");

	while (fgets(line, sizeof(line), stdin)) {
		if (!strcmp(line, "where\n"))
			printf("at %#lx %#lx\n", phys_of(mem), (unsigned long)mem);
		if (!strcmp(line, "poison\n")) {
			/* To be told so, by a signal, is none of its business. */
			signal(SIGBUS, ignore);
			/* It is poisoned also if that could not be handled. */
			if (madvise(mem, 4096, MADV_HWPOISON) && errno != EBUSY)
				perror("bad madvise");
			printf("poisoned\n");
		}
		if (strcmp(line, "verify\n"))
			continue;
		for (i = 0; i < pages; i++) {
			if (check_page(mem + i * PAGE_WORDS, mix(seed + i), i))
				return 1;
		}
		printf("verified %d\n", ++rounds);
	}
	return 0;
}
