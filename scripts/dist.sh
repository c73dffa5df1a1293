#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# dist.sh [FOLDER]: for each base, a tarball of its postings, for git am; docs/changes.md,
# which says what version that is; and SHA256SUMS. They go to build/dist/, of a clean
# checkout only; or to a FOLDER, of what there is. The same patches give the same bytes.

# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"

changes=$top/docs/changes.md
read -r version date < <(sed -nE 's/^## ([0-9.]+), ([0-9-]+)$/\1 \2/p' "$changes") ||
	die "$(rel "$changes") has no line '## VERSION, DATE'"
for line in "dkms.conf:PACKAGE_VERSION=\"$version\"" "main.c:MODULE_VERSION(\"$version\");"; do
	grep -qxF "${line#*:}" "$top/module/${line%%:*}" ||
		die "module/${line%%:*} has no line '${line#*:}': $(rel "$changes") says $version"
done
out=$(realpath -m "${1:-$build/dist}")
if [ $# -eq 0 ]; then
	changed=$(git -C "$top" status --porcelain)
	[ -z "$changed" ] || die "a release is made of what is committed, and of nothing else:" "$changed"
	rm -rf "$out"
fi

readme() {
	cat <<-EOF
		Memory hotplug by sub-section, version $version: patches for Linux $BASE.

		In this folder,

		    ls "\$PWD"/*/*.patch | grep -v cover-letter | xargs git -C /path/to/linux am

		applies all of them. Each posting builds on those before it, and is of use without
		those behind it; its 0000-cover-letter.patch says what it is for:

	EOF
	postings | while read -r p; do
		printf '    %-17s%s\n' "$p" "$(head -n 1 "$patchdir/$p/cover-letter.txt")"
	done
	cat <<-EOF

		The patches carry no Signed-off-by: whoever submits them reviews them, signs with
		git am -s, and answers for them. changes.md says what is new.
	EOF
}

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
mkdir -p "$out"
cp "$changes" "$out/"
for patchdir in "$top"/patches/*/; do
	patchdir=${patchdir%/}
	[ -f "$patchdir/postings" ] || continue
	BASE=${patchdir##*/}
	name=mhp-subsection-$version-$BASE
	mkdir "$scratch/$name"
	readme >"$scratch/$name/README"
	cp "$top/COPYING" "$changes" "$scratch/$name/"
	for p in $(postings); do
		mkdir "$scratch/$name/$p"
		cp "$patchdir/$p"/*.patch "$scratch/$name/$p/"
	done
	tar -c -C "$scratch" --format=ustar --sort=name --mtime="$date 00:00Z" \
		--owner=0 --group=0 --numeric-owner --mode=u=rwX,go=rX "$name" |
		xz -9 -T1 >"$out/$name.tar.xz"
done
cd "$out"
sha256sum -- * >"$scratch/SHA256SUMS"
mv "$scratch/SHA256SUMS" .
say "version $version: $(rel "$out")"
