/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Where a memmap is stored, by the page tables that map it. Shared by mhp_debug
 * and the tests' own module.
 */
#ifndef _MHP_VMEMMAP_H
#define _MHP_VMEMMAP_H

#include <linux/mm.h>
#include <linux/pgtable.h>
#include <linux/sched.h>

/* The kernel's own page table; init_mm is exported by few architectures only. */
static inline pgd_t *mhp_kernel_pgd(unsigned long addr)
{
#ifdef CONFIG_ARM64
	pgd_t *pgd = __va(read_sysreg(ttbr1_el1) & GENMASK_ULL(47, 1) &
			  PAGE_MASK);
#else
	pgd_t *pgd = current->active_mm->pgd;
#endif

	return pgd_offset_pgd(pgd, addr);
}

/**
 * mhp_virt_to_backing() - what a kernel address of the memmap is mapped to
 * @addr: the kernel virtual address
 * @page_size: if not 0 is returned, set to the bytes of the page, which may be a
 *	huge one
 *
 * Context: Any. The caller keeps the mapping from going away.
 * Return: the physical address in bytes, or 0 if nothing is mapped there.
 */
static inline phys_addr_t mhp_virt_to_backing(unsigned long addr,
					      unsigned long *page_size)
{
	pgd_t *pgd = mhp_kernel_pgd(addr);
	p4d_t *p4d;
	pud_t *pud;
	pmd_t *pmdp, pmd;
	pte_t pte;

	if (pgd_none(*pgd))
		return 0;
	p4d = p4d_offset(pgd, addr);
	if (p4d_none(*p4d))
		return 0;
	pud = pud_offset(p4d, addr);
	if (pud_none(*pud) || pud_leaf(*pud))
		return 0;
	/* hugetlb may put a table in place of a leaf meanwhile. */
	pmdp = pmd_offset(pud, addr);
	pmd = pmdp_get(pmdp);
	if (pmd_none(pmd))
		return 0;
	if (pmd_leaf(pmd)) {
		*page_size = PMD_SIZE;
		return PFN_PHYS(pmd_pfn(pmd)) + (addr & ~PMD_MASK);
	}
	pte = ptep_get(pte_offset_kernel(&pmd, addr));
	if (!pte_present(pte))
		return 0;
	*page_size = PAGE_SIZE;
	return PFN_PHYS(pte_pfn(pte)) + offset_in_page(addr);
}

#endif /* _MHP_VMEMMAP_H */
