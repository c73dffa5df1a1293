// SPDX-License-Identifier: GPL-2.0
/*
 * soak - walk physical memory and use it, in all ways at once, until told to stop
 *
 * soak SEED START END [WITHOUT]...
 *
 * Memory comes and goes between the physical addresses START and END meanwhile.
 * Each load is a process that does one step after the other; one that ends is
 * started again. WITHOUT names loads that are not wanted. What there is to say
 * goes to /dev/kmsg, each line with "soak:" in front:
 *
 *   at NAME=STEPS...	every ten seconds
 *   absent NAME	the kernel has no such thing
 *   died NAME WHY	a load ended that should not have
 *   done NAME=STEPS...	after SIGTERM, when all loads have ended
 *
 * One program rather than a script: in an emulated guest, what takes time is to
 * start programs.
 */

#define _GNU_SOURCE
#include <dirent.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define ARRAY_SIZE(a)	(sizeof(a) / sizeof(*(a)))
#define PAGE		4096UL
#define HUGE		(2UL << 20)
#define MIB		(1UL << 20)
#define CHUNK		(64 << 10)
#define ABSENT		77
#define STEP_BOUND	90	/* seconds that a step may take after SIGTERM */

#define DAMON		"/sys/kernel/mm/damon/admin/kdamonds/"
#define HUGETLB		"/sys/kernel/mm/hugepages/hugepages-"
#define KSM		"/sys/kernel/mm/ksm/"
#define HWPOISON	"/sys/kernel/debug/hwpoison/"
#define SPLIT		"/sys/kernel/debug/split_huge_pages"
#define MEMORY		"/sys/devices/system/memory/"
#define KPF_HWPOISON	(1UL << 19)
#define KPF_MLOCKED	(1UL << 33)

static unsigned long start, end, state;
static char buf[CHUNK];
static const char *why = "";
static int me;			/* number of this load among all */

/* What the loads and their parent share. */
static struct {
	int stop;
	unsigned long steps[64];
} *common;

static unsigned long rnd(unsigned long below)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return (state >> 11) % below;
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec * 1e-9;
}

/* Sleep, but not for longer than the loads are wanted. */
static void doze(double seconds)
{
	double until = now() + seconds, left;

	while (!common->stop && (left = until - now()) > 0)
		usleep(left > 0.2 ? 200000 : (unsigned int)(left * 1e6) + 1);
}

static int fail(const char *what)
{
	/* What is cut short at the end has not failed. */
	if (common->stop)
		return 0;
	why = what;
	return -1;
}

__attribute__((format(printf, 1, 2)))
static void say(const char *format, ...)
{
	char text[900];
	int fd = open("/dev/kmsg", O_WRONLY), n;
	va_list args;

	va_start(args, format);
	n = vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	if (write(fd, text, n) != n)
		perror("/dev/kmsg");
	close(fd);
}

/* Write a file: 0, or the errno. */
__attribute__((format(printf, 2, 3)))
static int put(const char *path, const char *format, ...)
{
	int fd = open(path, O_WRONLY), n, err;
	char text[128];
	va_list args;

	if (fd < 0)
		return errno;
	va_start(args, format);
	n = vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	err = write(fd, text, n) < 0 ? errno : 0;
	close(fd);
	return err;
}

/* Read from a place on, and forget it: the bytes. Errors are none of ours. */
static size_t get(const char *path, off_t at, size_t size)
{
	int fd = open(path, O_RDONLY);
	size_t all = 0;
	ssize_t n;

	if (fd < 0)
		return 0;
	lseek(fd, at, SEEK_SET);
	while (all < size && !common->stop) {
		n = read(fd, buf, size - all < CHUNK ? size - all : CHUNK);
		if (n <= 0)
			break;
		all += n;
	}
	close(fd);
	return all;
}

/* A word of a file of them, or 0. */
static unsigned long word(const char *path, unsigned long index)
{
	int fd = open(path, O_RDONLY);
	unsigned long value = 0;

	if (pread(fd, &value, sizeof(value), index * sizeof(value)) != sizeof(value))
		value = 0;
	close(fd);
	return value;
}

/* The first pfn of a random sub-section of what comes and goes, or any. */
static unsigned long hot_pfn(int any)
{
	unsigned long pfn = (start + rnd((end - start) / HUGE) * HUGE) / PAGE;

	return any ? pfn + rnd(HUGE / PAGE) : pfn;
}

/* --- those who walk ----------------------------------------------------------- */

static int compact(void)
{
	return put("/proc/sys/vm/compact_memory", "1") ? fail("compact_memory") : 0;
}

/* Everything from time to time, and what comes and goes more often. */
static int walk_pages(const char *path)
{
	if (rnd(8))
		get(path, hot_pfn(0) * 8, 16 * CHUNK);
	else if (!get(path, 0, -1))
		return fail(path);
	return 0;
}

static int kpageflags(void) { return walk_pages("/proc/kpageflags"); }
static int kpagecount(void) { return walk_pages("/proc/kpagecount"); }
static int kpagecgroup(void) { return walk_pages("/proc/kpagecgroup"); }

static int zones(void)
{
	if (!get("/proc/pagetypeinfo", 0, -1))
		return fail("pagetypeinfo");
	get("/proc/zoneinfo", 0, -1);
	get("/sys/kernel/debug/extfrag/unusable_index", 0, -1);
	return 0;
}

/* A record a read; the position is a pfn. */
static int page_owner(void)
{
	int fd = open("/sys/kernel/debug/page_owner", O_RDONLY), i;

	if (fd < 0)
		return fail("page_owner");
	if (rnd(4))
		lseek(fd, hot_pfn(1), SEEK_SET);
	for (i = 0; i < 300 && !common->stop; i++) {
		if (read(fd, buf, PAGE) <= 0)
			break;
	}
	close(fd);
	return 0;
}

/* Headers, and pages of whatever of the direct map comes and goes. */
static int kcore(void)
{
	int fd = open("/proc/kcore", O_RDONLY), i, n;
	Elf64_Phdr p[256];
	Elf64_Ehdr e;

	if (fd < 0 || read(fd, &e, sizeof(e)) != sizeof(e) || e.e_phnum > ARRAY_SIZE(p))
		return fail("kcore");
	n = e.e_phnum * sizeof(*p);
	if (pread(fd, p, n, e.e_phoff) != n)
		return fail("headers of kcore");
	for (i = 0; i < e.e_phnum; i++) {
		if (p[i].p_type != PT_LOAD || p[i].p_paddr >= end ||
		    p[i].p_paddr + p[i].p_memsz <= start)
			continue;
		for (n = 0; n < 64; n++) {
			off_t at = rnd(p[i].p_memsz / PAGE) * PAGE;

			if (pread(fd, buf, PAGE, p[i].p_offset + at) < 0)
				break;
		}
	}
	close(fd);
	return 0;
}

static int page_idle(void)
{
	int fd = open("/sys/kernel/mm/page_idle/bitmap", O_RDWR);
	off_t at = hot_pfn(0) / 8;

	if (fd < 0)
		return fail("page_idle");
	memset(buf, 0xff, PAGE);
	/* Behind the last page there is, this fails. */
	if (pwrite(fd, buf, PAGE / 4, at) < 0 && errno != ENXIO)
		return fail("page_idle");
	if (pread(fd, buf, PAGE / 4, at) < 0)
		return fail("page_idle");
	close(fd);
	return 0;
}

/* Monitoring of physical addresses goes on for a while, then starts over. */
static int damon(void)
{
	if (put(DAMON "0/state", "on"))
		return fail("damon does not start");
	doze(1 + rnd(4));
	put(DAMON "0/state", "update_schemes_stats");
	put(DAMON "0/state", "off");
	return 0;
}

static int damon_begins(void)
{
	static const char context[] = DAMON "0/contexts/0/";
	const struct {
		const char *file;
		unsigned long value;
	} numbers[] = {
		{ "monitoring_attrs/intervals/sample_us", 5000 },
		{ "monitoring_attrs/intervals/aggr_us", 100000 },
		{ "monitoring_attrs/intervals/update_us", 1000000 },
		{ "monitoring_attrs/nr_regions/max", 2000 },
		{ "monitoring_attrs/nr_regions/min", 200 },
		{ "targets/nr_targets", 1 },
		{ "targets/0/regions/nr_regions", 1 },
		{ "targets/0/regions/0/start", start },
		{ "targets/0/regions/0/end", end },
	};
	char path[256];
	size_t i;

	if (put(DAMON "nr_kdamonds", "1"))
		return ABSENT;
	if (put(DAMON "0/contexts/nr_contexts", "1") ||
	    put(DAMON "0/contexts/0/operations", "paddr"))
		return fail("damon takes no context");
	for (i = 0; i < ARRAY_SIZE(numbers); i++) {
		snprintf(path, sizeof(path), "%s%s", context, numbers[i].file);
		if (put(path, "%lu", numbers[i].value))
			return fail(numbers[i].file);
	}
	return 0;
}

static void damon_ends(void)
{
	put(DAMON "nr_kdamonds", "0");
}

static int split(void)
{
	return put(SPLIT, "1") ? fail("split_huge_pages") : 0;
}

static int kmemleak(void)
{
	put("/sys/kernel/debug/kmemleak", "scan");
	return 0;
}

static int sysfs(void)
{
	static const char *const names[] = { "state", "valid_zones", "removable", "phys_device" };
	DIR *dir = opendir(MEMORY);
	struct dirent *d;
	char path[512];
	size_t i;

	if (!dir)
		return fail("sysfs");
	while ((d = readdir(dir)) && !common->stop) {
		if (strncmp(d->d_name, "memory", 6))
			continue;
		for (i = 0; i < ARRAY_SIZE(names); i++) {
			snprintf(path, sizeof(path), MEMORY "%s/%s", d->d_name, names[i]);
			get(path, 0, CHUNK);
		}
	}
	closedir(dir);
	return 0;
}

/* --- those who allocate by address -------------------------------------------- */

static int cma(void)
{
	unsigned long pages = 1 + rnd(1024);

	if (!put("/sys/kernel/debug/cma/reserved/alloc", "%lu", pages)) {
		doze(0.01 * rnd(20));
		put("/sys/kernel/debug/cma/reserved/free", "%lu", pages);
	}
	return 0;
}

/* There is hardly ever one; what counts is the search through all zones. */
static int gigantic(void)
{
	put(HUGETLB "1048576kB/nr_hugepages", "1");
	put(HUGETLB "1048576kB/nr_hugepages", "0");
	return 0;
}

static void gigantic_ends(void)
{
	put(HUGETLB "1048576kB/nr_hugepages", "0");
}

/* --- poison: rarely, as it keeps memory from going ------------------------------ */

static unsigned long poisoned[64];	/* pfns */

static int is_poisoned(unsigned long pfn)
{
	return !!(word("/proc/kpageflags", pfn) & KPF_HWPOISON);
}

/* Somebody may have the page in hand: then later. The memory may also have gone. */
static int cure(void)
{
	int left = 0;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(poisoned); i++) {
		if (poisoned[i] && (!is_poisoned(poisoned[i]) ||
				    !put(HWPOISON "unpoison-pfn", "%#lx", poisoned[i])))
			poisoned[i] = 0;
		left += !!poisoned[i];
	}
	return left;
}

static int remember(unsigned long pfn)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(poisoned); i++) {
		if (!poisoned[i]) {
			poisoned[i] = pfn;
			doze(0.01 * rnd(50));
			cure();
			return 0;
		}
	}
	return fail("poisoned pages stay so");
}

/* A page that is offline, or in use by the kernel, is refused. */
static int soft_offline(void)
{
	unsigned long pfn = hot_pfn(1);

	put(MEMORY "soft_offline_page", "%#lx", pfn * PAGE);
	return remember(pfn);
}

/* Where a page is, or was before it was poisoned. */
static unsigned long pfn_of(const void *mem)
{
	unsigned long entry = word("/proc/self/pagemap", (unsigned long)mem / PAGE);

	return entry >> 62 == 1 ? (entry & ((1UL << 55) - 1)) >> 5 : entry & ((1UL << 55) - 1);
}

/*
 * Any page is looked at, and only this one is poisoned: the filter spares what is
 * not locked, and nobody else has locked pages.
 */
static int hard_offline(void)
{
	unsigned char *mem = mmap(NULL, PAGE, PROT_READ | PROT_WRITE,
				  MAP_PRIVATE | MAP_ANONYMOUS | MAP_LOCKED, -1, 0);
	unsigned long pfn;
	int i;

	if (mem == MAP_FAILED)
		return fail("no page to poison");
	for (i = 0; i < 5; i++)
		put(HWPOISON "corrupt-pfn", "%#lx", hot_pfn(1));
	madvise(mem, PAGE, MADV_HWPOISON);
	pfn = pfn_of(mem);
	munmap(mem, PAGE);
	return remember(pfn);
}

static void ignore(int number)
{
	(void)number;
}

static int hard_offline_begins(void)
{
	/* To poison a page also means to be told so. */
	signal(SIGBUS, ignore);
	if (put(HWPOISON "corrupt-filter-flags-mask", "%#lx", KPF_MLOCKED) ||
	    put(HWPOISON "corrupt-filter-flags-value", "%#lx", KPF_MLOCKED) ||
	    put(HWPOISON "corrupt-filter-enable", "1"))
		return ABSENT;
	return 0;
}

static void poison_ends(void)
{
	int tries;

	for (tries = 0; cure() && tries < 100; tries++)
		usleep(100000);
}

/* --- those who use memory --------------------------------------------------------- */

static unsigned char *map(size_t size, int flags)
{
	void *mem = mmap(NULL, size, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | flags, -1, 0);

	return mem == MAP_FAILED ? NULL : mem;
}

/* Pages that are alike, and then are not. */
static int ksm(void)
{
	size_t pages = 2048, i;
	unsigned char *mem = map(pages * PAGE, 0);

	if (!mem || madvise(mem, pages * PAGE, MADV_MERGEABLE))
		return fail("no area for KSM");
	for (i = 0; i < pages; i++)
		memset(mem + i * PAGE, i % 16, PAGE);
	doze(1 + rnd(4));
	for (i = 0; i < pages; i += 2)
		mem[i * PAGE + 1] = 0xaa;
	for (i = 0; i < pages; i++) {
		if (mem[i * PAGE] != i % 16 || mem[i * PAGE + PAGE - 1] != i % 16 ||
		    mem[i * PAGE + 1] != (i % 2 ? i % 16 : 0xaa))
			return fail("bad page of KSM");
	}
	munmap(mem, pages * PAGE);
	return 0;
}

static int ksm_begins(void)
{
	if (put(KSM "run", "1"))
		return ABSENT;
	put(KSM "pages_to_scan", "500");
	put(KSM "sleep_millisecs", "20");
	return 0;
}

static void ksm_ends(void)
{
	put(KSM "run", "2");
	put(KSM "run", "0");
}

static int thp(void)
{
	size_t size = (1 + rnd(8)) * HUGE, i;
	unsigned char *mem = map(size, 0);

	if (!mem || madvise(mem, size, MADV_HUGEPAGE))
		return fail("no area for THP");
	for (i = 0; i < size; i += HUGE)
		memset(mem + i, 0x5a, HUGE);
	doze(0.1 * rnd(10));
	/* Splits one */
	munmap(mem + PAGE, PAGE);
	for (i = PAGE * 2; i < size; i += PAGE) {
		if (mem[i] != 0x5a)
			return fail("bad page of THP");
	}
	munmap(mem, size);
	return 0;
}

static int hugetlb(void)
{
	unsigned long nr = 1 + rnd(12);
	unsigned char *mem;

	put(HUGETLB "2048kB/nr_hugepages", "%lu", nr);
	nr = 1 + rnd(nr);
	/* Unless there are fewer */
	mem = map(nr * HUGE, MAP_HUGETLB);
	if (mem) {
		/* From 7.3 on, pages that are about to go offline are not to be had. */
		if (!madvise(mem, nr * HUGE, MADV_POPULATE_WRITE)) {
			memset(mem, 0xa5, nr * HUGE);
			doze(0.1 * rnd(10));
		}
		munmap(mem, nr * HUGE);
	}
	put(HUGETLB "2048kB/nr_hugepages", "0");
	return 0;
}

static void hugetlb_ends(void)
{
	put(HUGETLB "2048kB/nr_hugepages", "0");
}

/* memfill holds memory for a while, and then checks each word of it. */
static int fill(const char *how)
{
	char command[256];
	FILE *f;

	snprintf(command, sizeof(command), "exec /mnt/share/memfill %s %lu %lu >/tmp/soak-%d",
		 how, (8 + rnd(40)) * MIB, rnd(1 << 30), me);
	f = popen(command, "w");
	if (!f)
		return fail("no memfill");
	doze(0.1 * rnd(40));
	fputs("verify\n", f);
	if (pclose(f)) {
		snprintf(command, sizeof(command), "/tmp/soak-%d", me);
		memset(buf, 0, 200);
		get(command, 0, 200);
		return fail(*buf ? buf : "memfill");
	}
	return 0;
}

static int fill_small(void) { return fill("small"); }
static int fill_thp(void) { return fill("thp"); }

static int files(void)
{
	size_t chunks = 1 + rnd(12 * MIB / CHUNK), i, n;
	unsigned char byte = rnd(256);
	char path[32];
	int fd;

	snprintf(path, sizeof(path), "/tmp/soak-%d", me);
	fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
	if (fd < 0)
		return fail("no file");
	memset(buf, byte, CHUNK);
	for (i = 0; i < chunks; i++) {
		if (write(fd, buf, CHUNK) != CHUNK)
			return fail("write to tmpfs");
	}
	doze(0.1 * rnd(10));
	lseek(fd, 0, SEEK_SET);
	for (i = 0; i < chunks; i++) {
		if (read(fd, buf, CHUNK) != CHUNK)
			return fail("read from tmpfs");
		for (n = 0; n < CHUNK; n += 512) {
			if ((unsigned char)buf[n] != byte)
				return fail("bad page of tmpfs");
		}
	}
	close(fd);
	unlink(path);
	return 0;
}

/* --- all of them -------------------------------------------------------------------- */

static const struct load {
	const char *name;
	int (*step)(void);
	double pause;		/* after a step, in times that it took; below 0: seconds */
	const char *needs;	/* a file */
	int (*begin)(void);
	void (*finish)(void);
} loads[] = {
	/* Compaction looks at what it isolated before it slept: the more, the better. */
	{ "compact", compact, .pause = 0 },
	{ "compact", compact, .pause = 0 },
	{ "compact", compact, .pause = 0 },
	{ "kpageflags", kpageflags, .pause = 1, .needs = "/proc/kpageflags" },
	{ "kpagecount", kpagecount, .pause = 2, .needs = "/proc/kpagecount" },
	{ "kpagecgroup", kpagecgroup, .pause = 2, .needs = "/proc/kpagecgroup" },
	{ "zones", zones, .pause = 8 },
	{ "page_owner", page_owner, .pause = 4, .needs = "/sys/kernel/debug/page_owner" },
	{ "kcore", kcore, .pause = 8 },
	{ "page_idle", page_idle, .pause = 4, .needs = "/sys/kernel/mm/page_idle/bitmap" },
	{ "damon", damon, .pause = 0, .needs = DAMON,
	  .begin = damon_begins, .finish = damon_ends },
	{ "split", split, .pause = 8, .needs = SPLIT },
	{ "kmemleak", kmemleak, .pause = 10, .needs = "/sys/kernel/debug/kmemleak" },
	{ "sysfs", sysfs, .pause = 10 },
	{ "cma", cma, .pause = 4, .needs = "/sys/kernel/debug/cma/reserved" },
	{ "gigantic", gigantic, .pause = 10, .needs = HUGETLB "1048576kB",
	  .finish = gigantic_ends },
	{ "soft_offline", soft_offline, .pause = -1, .needs = HWPOISON,
	  .finish = poison_ends },
	{ "hard_offline", hard_offline, .pause = -2, .needs = HWPOISON,
	  .begin = hard_offline_begins, .finish = poison_ends },
	{ "ksm", ksm, .pause = 0, .needs = KSM,
	  .begin = ksm_begins, .finish = ksm_ends },
	{ "thp", thp, .pause = 1 },
	{ "hugetlb", hugetlb, .pause = 4, .needs = HUGETLB "2048kB",
	  .finish = hugetlb_ends },
	{ "fill_small", fill_small, .pause = 0 },
	{ "fill_thp", fill_thp, .pause = 0 },
	{ "files", files, .pause = 2 },
};

static int wanted[ARRAY_SIZE(loads)];
static pid_t pids[ARRAY_SIZE(loads)];

static void run(int i, unsigned long seed)
{
	const struct load *l = &loads[i];
	int ret = 0;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	prctl(PR_SET_NAME, l->name);
	/* Plugging and unplugging comes first. */
	if (nice(10) < 0)
		perror("nice");
	signal(SIGTERM, SIG_IGN);
	me = i;
	state = (seed * 64 + i + 1) * 0x9e3779b97f4a7c15UL;
	rnd(2);
	if (l->needs && access(l->needs, F_OK))
		_exit(ABSENT);
	if (l->begin)
		ret = l->begin();
	while (!ret && !common->stop) {
		double began = now(), took;

		ret = l->step();
		common->steps[i]++;
		took = now() - began;
		doze(l->pause < 0 ? -l->pause : l->pause * took < 5 ? l->pause * took : 5);
	}
	if (l->finish)
		l->finish();
	if (ret && ret != ABSENT)
		say("soak: died %s %s\n", l->name, why);
	_exit(ret == ABSENT ? ABSENT : !!ret);
}

static void begin(int i, unsigned long seed)
{
	pids[i] = fork();
	if (!pids[i])
		run(i, seed);
}

/* Where in the kernel a load is, and how many pages somebody has isolated. */
static void show(int i)
{
	static const char *const files[] = { "/proc/%d/stat", "/proc/%d/stack", "/proc/vmstat" };
	char text[256];
	size_t n;
	FILE *f;

	for (n = 0; n < ARRAY_SIZE(files); n++) {
		snprintf(text, sizeof(text), files[n], pids[i]);
		f = fopen(text, "r");
		while (f && fgets(text, sizeof(text), f)) {
			if (n < 2 || !strncmp(text, "nr_", 3))
				say("soak: %s %s", loads[i].name, text);
		}
		if (f)
			fclose(f);
	}
}

/* Who ended, and why; returns how many still run. */
static int reap(int again, unsigned long seed)
{
	int status, running = 0;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(loads); i++) {
		if (pids[i] <= 0)
			continue;
		if (waitpid(pids[i], &status, WNOHANG) != pids[i]) {
			running++;
			continue;
		}
		pids[i] = 0;
		if (WIFEXITED(status) && WEXITSTATUS(status) == ABSENT) {
			say("soak: absent %s\n", loads[i].name);
			wanted[i] = 0;
			continue;
		}
		if (WIFSIGNALED(status))
			say("soak: died %s of signal %d\n", loads[i].name, WTERMSIG(status));
		if (again)
			begin(i, seed);
	}
	return running;
}

static void tell(const char *what)
{
	char text[800];
	int n = 0;
	size_t i;

	text[0] = 0;
	for (i = 0; i < ARRAY_SIZE(loads); i++) {
		if (wanted[i])
			n += snprintf(text + n, sizeof(text) - n, " %s=%lu", loads[i].name,
				      common->steps[i]);
	}
	say("soak: %s%s\n", what, text);
}

static volatile sig_atomic_t ending;

static void on_signal(int number)
{
	ending = number;
}

int main(int argc, char **argv)
{
	unsigned long seed, round = 0;
	double next = 0, limit;
	size_t i;
	int n;

	if (argc < 4) {
		fprintf(stderr, "usage: soak SEED START END [WITHOUT]...\n");
		return 2;
	}
	seed = strtoul(argv[1], NULL, 0);
	start = strtoul(argv[2], NULL, 0);
	end = strtoul(argv[3], NULL, 0);
	common = mmap(NULL, sizeof(*common), PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (common == MAP_FAILED)
		return 1;
	signal(SIGTERM, on_signal);
	for (i = 0; i < ARRAY_SIZE(loads); i++) {
		wanted[i] = 1;
		for (n = 4; n < argc; n++)
			wanted[i] &= !!strcmp(argv[n], loads[i].name);
		if (wanted[i])
			begin(i, seed);
	}
	while (!ending) {
		reap(1, seed + ++round);
		if (now() >= next) {
			tell("at");
			next = now() + 10;
		}
		usleep(200000);
	}
	common->stop = 1;
	for (limit = now() + STEP_BOUND; reap(0, 0) && now() < limit;)
		usleep(50000);
	for (i = 0; i < ARRAY_SIZE(loads); i++) {
		if (pids[i] > 0) {
			say("soak: died %s does not end\n", loads[i].name);
			show(i);
			kill(pids[i], SIGKILL);
		}
	}
	tell("done");
	return 0;
}
