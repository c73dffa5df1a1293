// SPDX-License-Identifier: GPL-2.0
/*
 * tsc_khz - print the frequency of this machine's TSC in kHz
 *
 * An emulated CPU has the TSC of the host. When the host is busy, a guest that
 * measures its frequency by emulated timers may be wrong by any factor.
 */

#include <stdint.h>
#include <stdio.h>
#include <time.h>
#include <x86intrin.h>

static int64_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC_RAW, &t);
	return t.tv_sec * 1000000000LL + t.tv_nsec;
}

/* The TSC, and the time in ns at which it was that: of some tries the closest. */
static uint64_t look(int64_t *time)
{
	int64_t before, after, least = INT64_MAX;
	uint64_t tsc, best = 0;
	int i;

	for (i = 0; i < 100; i++) {
		before = now();
		tsc = __rdtsc();
		after = now();
		if (after - before < least) {
			least = after - before;
			best = tsc;
			*time = before + least / 2;
		}
	}
	return best;
}

int main(void)
{
	const struct timespec wait = { .tv_nsec = 50000000 };
	uint64_t first, last;
	int64_t start, end;

	first = look(&start);
	nanosleep(&wait, NULL);
	last = look(&end);
	printf("%.0f\n", (last - first) * 1e6 / (end - start));
	return 0;
}
