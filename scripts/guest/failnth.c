// SPDX-License-Identifier: GPL-2.0
/*
 * failnth FILE TEXT [UNDO-FILE UNDO-TEXT]... - let each allocation fail once
 *
 * Writes TEXT to FILE again and again, with the first, second, ... allocation of
 * that one write(2) failing, until it succeeds without having got as far as the
 * allocation that was to fail. After a success, UNDO-TEXT is written to
 * UNDO-FILE. What memory hotplug changes in /proc and /sys must be as before
 * then. Prints a line for each round: "<n> <errno or 0> <1 if one failed>".
 *
 * If FILE is the cmd file of the test module, what its result file says counts.
 * One program rather than a script: in an emulated debug kernel, what takes time
 * is to start programs.
 */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MAX_ROUNDS 5000

static unsigned long long hash;

static void die(const char *what)
{
	printf("%s: %m\n", what);
	exit(2);
}

static void hash_text(const char *text)
{
	/* FNV-1a */
	for (; *text; text++)
		hash = (hash ^ (unsigned char)*text) * 0x100000001b3;
}

/* The lines of a file with one of the words in them, or all lines. */
static void hash_file(const char *path, const char *const *words)
{
	static char line[4096];
	FILE *f = fopen(path, "r");
	const char *const *word;

	if (!f)
		return;
	while (fgets(line, sizeof(line), f)) {
		for (word = words; word && *word; word++) {
			if (strstr(line, *word))
				break;
		}
		if (!word || *word)
			hash_text(line);
	}
	fclose(f);
}

static int visit(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)ftw;
	hash_text(path);
	/* Tells of nothing but the last uevent */
	if (type == FTW_F && (st->st_mode & 0400) && !strstr(path, "/uevent") &&
	    strstr(path, "/memory/memory"))
		hash_file(path, NULL);
	return 0;
}

static unsigned long long state(void)
{
	static const char *const meminfo[] = { "MemTotal", "DirectMap", NULL };
	static const char *const vmstat[] = { "nr_memmap", NULL };
	static const char *const zoneinfo[] = {
		"Node", "present", "spanned", "managed", "start_pfn", NULL
	};
	static const char *const trees[] = {
		"/sys/devices/system/memory", "/sys/devices/system/node",
		"/sys/bus/memory/devices", NULL
	};
	const char *const *tree;

	hash = 0xcbf29ce484222325;
	hash_file("/proc/iomem", NULL);
	hash_file("/proc/meminfo", meminfo);
	hash_file("/proc/vmstat", vmstat);
	hash_file("/proc/zoneinfo", zoneinfo);
	for (tree = trees; *tree; tree++)
		nftw(*tree, visit, 16, FTW_PHYS);
	return hash;
}

/* What the module says of the command that it took: errno, or 0. */
static int module_result(const char *path)
{
	char result[256];
	FILE *f;
	int ret;

	snprintf(result, sizeof(result), "%.*sresult", (int)strlen(path) - 3, path);
	f = fopen(result, "r");
	if (!f || fscanf(f, "ret=%d", &ret) != 1)
		die(result);
	fclose(f);
	return -ret;
}

/* Write once, with the n-th allocation failing if n is not 0. */
static int try_write(const char *path, const char *text, int n, int *failed)
{
	static int nth = -1;
	char number[16] = "";
	int file, err;

	file = open(path, O_WRONLY);
	if (file < 0)
		die(path);
	if (nth < 0)
		nth = open("/proc/thread-self/fail-nth", O_RDWR);
	snprintf(number, sizeof(number), "%d", n);
	if (nth < 0 || pwrite(nth, number, strlen(number), 0) < 0)
		die("fail-nth");

	err = write(file, text, strlen(text)) < 0 ? errno : 0;

	memset(number, 0, sizeof(number));
	if (pread(nth, number, sizeof(number) - 1, 0) < 0 || pwrite(nth, "0", 1, 0) < 0)
		die("fail-nth");
	*failed = n && !atoi(number);
	close(file);

	if (!err && strlen(path) > 4 && !strcmp(path + strlen(path) - 4, "/cmd"))
		err = module_result(path);
	return err;
}

int main(int argc, char **argv)
{
	int n, i, err, failed, unused;
	unsigned long long before;

	if (argc < 3 || argc % 2 == 0) {
		puts("usage: failnth FILE TEXT [UNDO-FILE UNDO-TEXT]...");
		return 2;
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
	before = state();

	for (n = 1; n <= MAX_ROUNDS; n++) {
		err = try_write(argv[1], argv[2], n, &failed);
		printf("%d %d %d\n", n, err, failed);
		for (i = 3; !err && i < argc; i += 2) {
			int undone = try_write(argv[i], argv[i + 1], 0, &unused);

			if (undone) {
				printf("undo after %d fails: %d\n", n, undone);
				return 1;
			}
		}
		if (state() != before) {
			printf("changed after %d\n", n);
			return 1;
		}
		if (!failed) {
			printf("done after %d\n", n);
			return !!err;
		}
	}
	puts("no end");
	return 1;
}
