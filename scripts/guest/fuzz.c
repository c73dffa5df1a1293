// SPDX-License-Identifier: GPL-2.0
/*
 * fuzz - write to a file what it may not expect
 *
 * fuzz FILE COUNT SEED EVERY REQUEST...
 *
 * Writes COUNT times to FILE: random bytes, or one of the REQUESTs with random
 * changes, and one of EVERY times a REQUEST as it is. The same SEED does the same.
 * Prints how many writes were taken, and how many were refused with which errno.
 */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MAX_LENGTH	8192
#define MAX_ERRNO	4096

static unsigned long state;

static unsigned long rnd(unsigned long below)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return (state >> 11) % below;
}

static const char * const words[] = {
	"start=", "size=", "node=", "memmap=", "online=", "pfn=", "phys=", " ", "=", "\n",
	"0x", "-1", "0", "1", "0xffffffffffffffff", "18446744073709551616", "2M", "1T",
	"99999999999T", "self", "regular", "offline", "movable", "kernel", "\t", "K",
};

static size_t insert(char *text, size_t length, size_t at, const char *what, size_t n)
{
	if (length + n > MAX_LENGTH)
		return length;
	memmove(text + at + n, text + at, length - at);
	memcpy(text + at, what, n);
	return length + n;
}

static size_t mutate(char *text, size_t length)
{
	static char part[MAX_LENGTH];
	size_t at = rnd(length + 1), n;
	const char *word;
	char byte = rnd(256);

	switch (rnd(7)) {
	case 0:			/* another byte */
		if (at < length)
			text[at] = byte;
		return length;
	case 1:			/* one more */
		return insert(text, length, at, &byte, 1);
	case 2:			/* some fewer */
		n = rnd(8) + 1;
		if (at + n > length)
			return at;
		memmove(text + at, text + at + n, length - at - n);
		return length - n;
	case 3:			/* a word of the language */
	case 4:
		word = words[rnd(sizeof(words) / sizeof(*words))];
		return insert(text, length, at, word, strlen(word));
	case 5:			/* a part of it again */
		n = rnd(length - at + 1);
		memcpy(part, text + at, n);
		return insert(text, length, rnd(length + 1), part, n);
	default:		/* another digit */
		for (; at < length; at++) {
			if (text[at] >= '0' && text[at] <= '9') {
				text[at] = '0' + rnd(10);
				break;
			}
		}
		return length;
	}
}

static size_t random_bytes(char *text)
{
	size_t length = rnd(64) ? rnd(200) : 4000 + rnd(4000), i;
	int printable = rnd(2);

	for (i = 0; i < length; i++)
		text[i] = printable ? ' ' + rnd(95) : rnd(256);
	return length;
}

int main(int argc, char **argv)
{
	static unsigned long errors[MAX_ERRNO];
	static char text[MAX_LENGTH];
	unsigned long count, every, i, taken = 0;
	size_t length;
	int fd, n;

	if (argc < 6)
		return 2;
	fd = open(argv[1], O_WRONLY);
	if (fd < 0) {
		perror(argv[1]);
		return 1;
	}
	count = strtoul(argv[2], NULL, 0);
	/* Seeds that are close to one another must not begin alike. */
	state = (strtoul(argv[3], NULL, 0) + 1) * 0x9e3779b97f4a7c15UL;
	for (i = 0; i < 16; i++)
		rnd(2);
	every = strtoul(argv[4], NULL, 0);

	for (i = 0; i < count; i++) {
		const char *request = argv[5 + rnd(argc - 5)];

		length = strlen(request);
		memcpy(text, request, length);
		if (rnd(every)) {
			if (rnd(3)) {
				for (n = rnd(4) + 1; n; n--)
					length = mutate(text, length);
			} else {
				length = random_bytes(text);
			}
		}
		errno = 0;
		if (write(fd, text, length) >= 0)
			taken++;
		else
			errors[errno < MAX_ERRNO ? errno : 0]++;
	}
	printf("writes=%lu taken=%lu\n", count, taken);
	for (i = 0; i < MAX_ERRNO; i++) {
		if (errors[i])
			printf("errno=%lu refused=%lu\n", i, errors[i]);
	}
	return 0;
}
