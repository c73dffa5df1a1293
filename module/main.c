// SPDX-License-Identifier: GPL-2.0
/*
 * mhp_debug - show memory hotplug in debugfs, down to the sub-section, and drive it
 *
 * Files under <debugfs>/mhp/ are described in README.md of this folder.
 */

#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/capability.h>
#include <linux/debugfs.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/security.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/string_helpers.h>
#include <linux/timekeeping.h>
#include <linux/uaccess.h>

#include "mhp_debug.h"

#define REQUEST_SIZE	SZ_4K

/*
 * One request at a time. Taken outside of mhp_lock(), and of the lock of a seq_file,
 * as requests look into /proc/iomem: what shows a file must not take it.
 */
static DEFINE_MUTEX(mhp_knob_lock);

/* Protects last_error. Taken inside of all others. */
static DEFINE_MUTEX(mhp_error_lock);

/* The last request that failed; knob is NULL if there was none. */
static struct {
	const char *knob;
	int err;
	char reason[MHP_REASON_SIZE];
	char *request;
	char *violations;
	unsigned long nr_violations;
} last_error;

static struct dentry *mhp_dir;

/* Takes over the violations of the request. */
static void set_last_error(struct mhp_request *req, int err, char *text)
{
	mutex_lock(&mhp_error_lock);
	last_error.knob = req->knob;
	last_error.err = err;
	if (req->reason[0])
		strscpy(last_error.reason, req->reason);
	else if (err == -ENOMEM)
		strscpy(last_error.reason, "out of memory");
	else if (err == -EINTR)
		strscpy(last_error.reason, "the writer was killed");
	else if (!mhp_blocked_by(req->began, req->start, req->size,
				 last_error.reason, sizeof(last_error.reason)))
		strscpy(last_error.reason,
			"refused by memory hotplug, see the kernel's log");
	kfree(last_error.request);
	last_error.request = kstrdup(text, GFP_KERNEL);
	if (last_error.request)
		strim(last_error.request);
	kvfree(last_error.violations);
	last_error.violations = req->violations;
	last_error.nr_violations = req->nr_violations;
	req->violations = NULL;
	mutex_unlock(&mhp_error_lock);
}

/* A text in quotes, on one line whatever it holds */
static void show_text(struct seq_file *m, const char *key, const char *text)
{
	seq_printf(m, "%s=\"", key);
	seq_escape_str(m, text ?: "", ESCAPE_SPACE | ESCAPE_SPECIAL | ESCAPE_NAP |
		       ESCAPE_OCTAL | ESCAPE_APPEND, "\"\\");
	seq_putc(m, '"');
}

static int last_error_show(struct seq_file *m, void *v)
{
	mutex_lock(&mhp_error_lock);
	if (last_error.knob) {
		seq_printf(m, "knob=%s errno=%d ", last_error.knob, last_error.err);
		show_text(m, "reason", last_error.reason);
		seq_putc(m, ' ');
		show_text(m, "request", last_error.request);
		seq_putc(m, '\n');
		if (last_error.violations) {
			seq_printf(m, "violations=%lu\n", last_error.nr_violations);
			seq_puts(m, last_error.violations);
		}
	}
	mutex_unlock(&mhp_error_lock);
	return 0;
}

/* Root is not enough. */
static int mhp_may_use(void)
{
	return capable(CAP_SYS_ADMIN) ? 0 : -EPERM;
}

static ssize_t mhp_write(struct file *file, const char __user *ubuf,
			 size_t count, loff_t *ppos)
{
	const struct mhp_knob *knob = file_inode(file)->i_private;
	struct mhp_request *req;
	char *text = NULL;
	ssize_t ret;

	ret = mhp_may_use();
	if (ret)
		return ret;
	/* Refused when the file was opened; the kernel may be locked down since. */
	ret = security_locked_down(LOCKDOWN_DEBUGFS);
	if (ret)
		return ret;

	req = kzalloc(sizeof(*req), GFP_KERNEL);
	if (!req)
		return -ENOMEM;
	req->knob = knob->name;

	if (count > REQUEST_SIZE) {
		ret = request_err(req, -EINVAL, "more than %u bytes", REQUEST_SIZE);
	} else {
		text = memdup_user_nul(ubuf, count);
		if (IS_ERR(text)) {
			ret = PTR_ERR(text);
			goto free_req;
		}
		if (strlen(text) != count)
			ret = request_err(req, -EINVAL, "a zero byte in the request");
	}

	/* Memory that is in use can keep who takes it offline for long. */
	if (!knob->concurrent && mutex_lock_killable(&mhp_knob_lock)) {
		ret = -EINTR;
		goto free_text;
	}
	if (!ret) {
		char *words = kstrdup(text, GFP_KERNEL);

		req->began = ktime_get_mono_fast_ns();
		ret = words ? mhp_parse(req, knob, words) : -ENOMEM;
		if (!ret)
			ret = knob->run(req);
		kfree(words);
	}
	if (ret)
		set_last_error(req, ret, text);
	if (!knob->concurrent)
		mutex_unlock(&mhp_knob_lock);
free_text:
	kfree(text);
	kvfree(req->violations);
free_req:
	kfree(req);
	return ret ?: count;
}

static const struct mhp_knob knobs[] = {
	{
		.name = "add",
		.required = MHP_KEY_START | MHP_KEY_SIZE,
		.allowed = MHP_KEY_START | MHP_KEY_SIZE | MHP_KEY_NODE |
			   MHP_KEY_MEMMAP | MHP_KEY_ONLINE,
		.run = mhp_add,
	}, {
		.name = "remove",
		.required = MHP_KEY_START | MHP_KEY_SIZE,
		.allowed = MHP_KEY_START | MHP_KEY_SIZE,
		.run = mhp_remove,
	}, {
		.name = "online",
		.required = MHP_KEY_START | MHP_KEY_SIZE,
		.allowed = MHP_KEY_START | MHP_KEY_SIZE | MHP_KEY_ONLINE,
		.run = mhp_online,
	}, {
		.name = "offline",
		.required = MHP_KEY_START | MHP_KEY_SIZE,
		.allowed = MHP_KEY_START | MHP_KEY_SIZE,
		.run = mhp_offline,
	}, {
		.name = "offline_and_remove",
		.required = MHP_KEY_START | MHP_KEY_SIZE,
		.allowed = MHP_KEY_START | MHP_KEY_SIZE,
		.run = mhp_offline_and_remove,
	}, {
		.name = "selfcheck",
		.run = mhp_selfcheck,
	},
};

static const struct mhp_knob pfn_knob = {
	.name = "pfn",
	.allowed = MHP_KEY_PFN | MHP_KEY_PHYS,
	.concurrent = true,
	.run = mhp_pfn_set,
};

/* Files that are read in one piece, and those that are read by records */
static const struct mhp_state {
	const char *name;
	int (*show)(struct seq_file *m, void *v);
	const struct seq_operations *ops;
} states[] = {
	{ "granularity", mhp_granularity_show },
	{ "sections", NULL, &mhp_sections_ops },
	{ "blocks", NULL, &mhp_blocks_ops },
	{ "memmap", mhp_memmap_show },
	{ "map", NULL, &mhp_map_ops },
	{ "stats", mhp_stats_show },
	{ "last_error", last_error_show },
};

static int knob_open(struct inode *inode, struct file *file)
{
	return mhp_may_use() ?: nonseekable_open(inode, file);
}

static const struct file_operations knob_fops = {
	.owner = THIS_MODULE,
	.open = knob_open,
	.write = mhp_write,
};

static int pfn_open(struct inode *inode, struct file *file)
{
	return mhp_may_use() ?: single_open(file, mhp_pfn_show, NULL);
}

static const struct file_operations pfn_fops = {
	.owner = THIS_MODULE,
	.open = pfn_open,
	.read = seq_read,
	.write = mhp_write,
	.llseek = seq_lseek,
	.release = single_release,
};

static int state_open(struct inode *inode, struct file *file)
{
	const struct mhp_state *state = inode->i_private;
	int ret = mhp_may_use();

	if (ret)
		return ret;
	if (state->show)
		return single_open(file, state->show, NULL);
	return seq_open_private(file, state->ops, sizeof(struct mhp_iter));
}

static int state_release(struct inode *inode, struct file *file)
{
	const struct mhp_state *state = inode->i_private;

	if (state->show)
		return single_release(inode, file);
	return seq_release_private(inode, file);
}

static const struct file_operations state_fops = {
	.owner = THIS_MODULE,
	.open = state_open,
	.read = seq_read,
	.llseek = seq_lseek,
	.release = state_release,
};

static int __init mhp_debug_init(void)
{
	int i, ret;

	ret = mhp_state_init();
	if (ret)
		return ret;
	mhp_stats_init();

	mhp_dir = debugfs_create_dir("mhp", NULL);
	if (IS_ERR(mhp_dir)) {
		ret = PTR_ERR(mhp_dir);
		pr_err("cannot create <debugfs>/mhp: %d\n", ret);
		mhp_stats_exit();
		mhp_state_exit();
		return ret;
	}
	for (i = 0; i < ARRAY_SIZE(states); i++)
		debugfs_create_file(states[i].name, 0400, mhp_dir,
				    (void *)&states[i], &state_fops);
	for (i = 0; i < ARRAY_SIZE(knobs); i++)
		debugfs_create_file(knobs[i].name, 0200, mhp_dir,
				    (void *)&knobs[i], &knob_fops);
	debugfs_create_file(pfn_knob.name, 0600, mhp_dir, (void *)&pfn_knob,
			    &pfn_fops);
	return 0;
}

static void __exit mhp_debug_exit(void)
{
	/* Waits for who is in a file. */
	debugfs_remove_recursive(mhp_dir);
	mhp_stats_exit();
	mhp_state_exit();
	kfree(last_error.request);
	kvfree(last_error.violations);
}

module_init(mhp_debug_init);
module_exit(mhp_debug_exit);
#ifdef MHP_SUBSECTION
MHP_IMPORT_NS(MHP_DEBUG);
#if IS_ENABLED(CONFIG_KUNIT)
MHP_IMPORT_NS(EXPORTED_FOR_KUNIT_TESTING);
#endif
#endif
MODULE_DESCRIPTION("Show memory hotplug down to the sub-section, and drive it");
MODULE_VERSION("1.0");
MODULE_LICENSE("GPL");
