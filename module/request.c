// SPDX-License-Identifier: GPL-2.0
/*
 * Requests: "key=value key=value ...", parsed to the last byte before anything is
 * done.
 */

#include <linux/ctype.h>
#include <linux/kstrtox.h>
#include <linux/nodemask.h>
#include <linux/overflow.h>
#include <linux/processor.h>
#include <linux/string.h>

#include "mhp_debug.h"

/**
 * request_err() - note why a request fails
 * @req: the request
 * @err: -errno
 * @fmt: the reason in words
 *
 * The first reason stays.
 *
 * Context: Any.
 * Return: @err
 */
int request_err(struct mhp_request *req, int err, const char *fmt, ...)
{
	va_list args;

	if (!req->reason[0]) {
		va_start(args, fmt);
		vscnprintf(req->reason, sizeof(req->reason), fmt, args);
		va_end(args);
	}
	return err;
}

/*
 * Plain digits only: kstrtoull() would take a sign, a newline, and a leading 0 for
 * octal.
 */
static int parse_number(const char *value, u64 *out)
{
	size_t len = strlen(value);

	if (!isdigit(value[0]) || !isxdigit(value[len - 1]))
		return -EINVAL;
	if (value[0] == '0' && isdigit(value[1]))
		return -EINVAL;
	return kstrtoull(value, 0, out);
}

/* A number with K, M, G or T behind it, for powers of 1024, or without */
static int parse_size(char *value, u64 *out)
{
	static const char units[] = "KMGT";
	size_t len = strlen(value);
	const char *unit = NULL;
	u64 number, factor = 1;
	int ret;

	if (len)
		unit = strchr(units, toupper(value[len - 1]));
	if (unit && *unit) {
		factor = 1ULL << (10 * (unit - units + 1));
		value[len - 1] = '\0';
	}
	ret = parse_number(value, &number);
	if (ret)
		return ret;
	return check_mul_overflow(number, factor, out) ? -ERANGE : 0;
}

static int parse_node(const char *value, int *nid)
{
	u64 number;
	int ret = parse_number(value, &number);

	if (ret)
		return ret;
	if (number >= MAX_NUMNODES || !node_possible(number))
		return -ENODEV;
	*nid = number;
	return 0;
}

static int parse_memmap(const char *value, enum mhp_memmap *memmap)
{
	if (!strcmp(value, "self"))
		*memmap = MHP_MEMMAP_SELF;
	else if (!strcmp(value, "regular"))
		*memmap = MHP_MEMMAP_REGULAR;
	else
		return -EINVAL;
	return 0;
}

static int parse_online(const char *value, enum mmop *type)
{
	if (!strcmp(value, "offline"))
		*type = MMOP_OFFLINE;
	else if (!strcmp(value, "online"))
		*type = MMOP_ONLINE;
	else if (!strcmp(value, "kernel"))
		*type = MMOP_ONLINE_KERNEL;
	else if (!strcmp(value, "movable"))
		*type = MMOP_ONLINE_MOVABLE;
	else
		return -EINVAL;
	return 0;
}

/* Where the addresses end that the CPU and the kernel can use */
static u64 phys_end(void)
{
	unsigned int bits = MAX_PHYSMEM_BITS;

#ifdef CONFIG_X86_64
	bits = min_t(unsigned int, bits, boot_cpu_data.x86_phys_bits);
#endif
	return 1ULL << bits;
}

static int parse_value(struct mhp_request *req, unsigned int key, char *value)
{
	u64 number = 0;
	int ret;

	switch (key) {
	case MHP_KEY_START:
		return parse_size(value, &req->start);
	case MHP_KEY_SIZE:
		return parse_size(value, &req->size);
	case MHP_KEY_NODE:
		return parse_node(value, &req->nid);
	case MHP_KEY_MEMMAP:
		return parse_memmap(value, &req->memmap);
	case MHP_KEY_ONLINE:
		return parse_online(value, &req->online_type);
	case MHP_KEY_PFN:
		ret = parse_number(value, &number);
		break;
	case MHP_KEY_PHYS:
		ret = parse_size(value, &number);
		number >>= PAGE_SHIFT;
		break;
	default:
		return -EINVAL;
	}
	if (!ret && number >= PHYS_PFN(phys_end()))
		return -ERANGE;
	req->pfn = number;
	return ret;
}

static const struct {
	const char *name;
	unsigned int key;
} request_keys[] = {
	{ "start", MHP_KEY_START },
	{ "size", MHP_KEY_SIZE },
	{ "node", MHP_KEY_NODE },
	{ "memmap", MHP_KEY_MEMMAP },
	{ "online", MHP_KEY_ONLINE },
	{ "pfn", MHP_KEY_PFN },
	{ "phys", MHP_KEY_PHYS },
};

static unsigned int find_key(const char *name)
{
	int i;

	for (i = 0; i < ARRAY_SIZE(request_keys); i++) {
		if (!strcmp(request_keys[i].name, name))
			return request_keys[i].key;
	}
	return 0;
}

static int parse_word(struct mhp_request *req, const struct mhp_knob *knob,
		      char *word)
{
	char *value = strchr(word, '=');
	unsigned int key;
	int ret;

	if (!value)
		return request_err(req, -EINVAL, "'%.40s' is not key=value", word);
	*value++ = '\0';
	key = find_key(word) & knob->allowed;
	if (!key)
		return request_err(req, -EINVAL, "unknown key '%.40s'", word);
	if (req->keys & key)
		return request_err(req, -EINVAL, "key '%s' is there twice", word);
	if (!*value)
		return request_err(req, -EINVAL, "key '%s' has no value", word);

	ret = parse_value(req, key, value);
	if (ret == -ERANGE)
		return request_err(req, ret, "value of '%s' is too large", word);
	if (ret == -ENODEV)
		return request_err(req, ret, "no such node");
	if (ret)
		return request_err(req, ret, "value of '%s' cannot be understood",
				   word);
	req->keys |= key;
	return 0;
}

/* What holds for all ranges, before anything looks at what is there */
static int check_range(struct mhp_request *req)
{
	const u64 granule = mhp_granularity();
	u64 end;

	if (!req->size)
		return request_err(req, -EINVAL, "size is 0");
	if (!IS_ALIGNED(req->start | req->size, granule))
		return request_err(req, -EINVAL, "start or size is not aligned to %#llx",
				   granule);
	if (check_add_overflow(req->start, req->size, &end))
		return request_err(req, -EOVERFLOW, "the range ends beyond 64 bits");
	if (end > phys_end())
		return request_err(req, -ERANGE, "the range ends beyond %#llx",
				   phys_end());
	return 0;
}

/**
 * mhp_parse() - parse a request
 * @req: zeroed but for its knob; filled
 * @knob: what is allowed
 * @text: the request, which is changed; one newline may end it
 *
 * Context: Process context.
 * Return: 0; -EINVAL, -ERANGE, -EOVERFLOW or -ENODEV with the reason in @req.
 */
int mhp_parse(struct mhp_request *req, const struct mhp_knob *knob, char *text)
{
	size_t len = strlen(text);
	char *word;
	int i, ret;

	req->nid = NUMA_NO_NODE;
	if (len && text[len - 1] == '\n')
		text[len - 1] = '\0';

	/* A number alone is what most people will write to "pfn". */
	if (knob->allowed & MHP_KEY_PFN && isdigit(text[0])) {
		req->keys = MHP_KEY_PFN;
		ret = parse_value(req, MHP_KEY_PFN, text);
		return ret ? request_err(req, ret, "no page frame number") : 0;
	}
	if (!knob->allowed)
		return strcmp(text, "1") ?
			request_err(req, -EINVAL, "anything but 1") : 0;

	while ((word = strsep(&text, " \t"))) {
		if (!*word)
			continue;
		ret = parse_word(req, knob, word);
		if (ret)
			return ret;
	}

	for (i = 0; i < ARRAY_SIZE(request_keys); i++) {
		if (knob->required & ~req->keys & request_keys[i].key)
			return request_err(req, -EINVAL, "key '%s' is missing",
					   request_keys[i].name);
	}
	if (knob->allowed & MHP_KEY_PFN)
		return hweight32(req->keys) == 1 ? 0 :
			request_err(req, -EINVAL, "either pfn= or phys=");
	return check_range(req);
}
