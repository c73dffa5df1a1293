/* SPDX-License-Identifier: GPL-2.0 */
/* In which order three neighbours go: parameters of cases */
#ifndef _MHP_KUNIT_ORDERS_H
#define _MHP_KUNIT_ORDERS_H

#include <kunit/test.h>

static const struct order_param {
	const char *name;
	int order[3];
} orders[] = {
	{ "first_second_third", { 0, 1, 2 } },
	{ "first_third_second", { 0, 2, 1 } },
	{ "second_first_third", { 1, 0, 2 } },
	{ "second_third_first", { 1, 2, 0 } },
	{ "third_first_second", { 2, 0, 1 } },
	{ "third_second_first", { 2, 1, 0 } },
};

KUNIT_ARRAY_PARAM_DESC(order, orders, name);

#endif /* _MHP_KUNIT_ORDERS_H */
