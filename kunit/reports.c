// SPDX-License-Identifier: GPL-2.0
/*
 * What the kernel reports while a case runs, by its log.
 *
 * Neither taint bits nor counters do: a bit that is set once tells of nothing later, and
 * not all reports are counted.
 */

#include <linux/kmsg_dump.h>
#include <linux/string.h>

#include "fixture.h"

/* Up to where the log was read */
static struct kmsg_dump_iter at;

/* The line of the log that was read last */
static char line[256];

/*
 * Warnings, bad pages and objects. What lockdep finds is not among them, nor what it ran
 * out of: on stock, too, it finds fault with a block that is removed while somebody reads
 * its state. Nor is a work that takes long on a slow machine.
 */
static bool is_report(const char *text)
{
	static const char cut[] = "------------[ cut here ]";

	if (!strncmp(text, cut, sizeof(cut) - 1))
		return true;
	if (strncmp(text, "BUG", 3) || (text[3] != ' ' && text[3] != ':'))
		return false;
	return strncmp(text, "BUG: MAX_", 9) && strncmp(text, "BUG: workqueue", 14);
}

static bool next_line(void)
{
	size_t len = 0;

	if (!kmsg_dump_get_line(&at, false, line, sizeof(line) - 1, &len))
		return false;
	line[len] = 0;
	return true;
}

/**
 * mhp_begin_reports() - look at what is reported from now on
 */
void mhp_begin_reports(void)
{
	kmsg_dump_rewind(&at);
	at.cur_seq = at.next_seq;
}

/**
 * mhp_next_report() - the next report of the kernel
 *
 * Return: what the log says of it, until the next call, or NULL if there is none
 */
const char *mhp_next_report(void)
{
	while (next_line()) {
		/* It may begin with the time. */
		char *text = line[0] == '[' ? strstr(line, "] ") : NULL;

		text = text ? text + 2 : line;
		if (!is_report(text))
			continue;
		/* The line behind that says what it is about. */
		if (text[0] == '-' && !next_line())
			return text;
		return line;
	}
	return NULL;
}
