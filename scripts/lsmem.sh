#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# lsmem.sh: get the source of Debian's util-linux, apply patches/util-linux/, build its
# lsmem, and print the path of that. Nothing is installed: all goes to build/util-linux/.

# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"

out=$build/util-linux
src=$out/src
version=$(dpkg-query -W -f '${source:Version}' util-linux)

# The system's own mirror, with the sources that its lists need not have, in folders of
# its own: the system's lists stay as they are.
download() {
	local apt=$out/apt
	rm -rf "$apt"
	mkdir -p "$apt/lists/partial" "$apt/archives/partial" "$out/dl"
	# shellcheck disable=SC2016 # apt expands it
	apt-get indextargets --format '$(ORIGIN) $(REPO_URI) $(RELEASE) $(COMPONENT)' \
		'Created-By: Packages' | sort -u | awk '$1 ~ /^Debian/ && $4 == "main" {
		print "deb-src [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg]", $2, $3, $4 }' \
		>"$apt/sources.list"
	[ -s "$apt/sources.list" ] || die "apt has no package lists of Debian's: run apt-get update"
	cat >"$apt/conf" <<EOF
Dir::Etc::sourcelist "$apt/sources.list";
Dir::Etc::sourceparts "/dev/null";
Dir::State::lists "$apt/lists";
Dir::Cache "$apt";
APT::Sandbox::User "root";
EOF
	export APT_CONFIG=$apt/conf
	apt-get update
	(cd "$out/dl" && apt-get source --download-only "util-linux=$version")
	rm -rf "$apt"
}

compile() {
	local patch
	rm -rf "$src"
	mkdir -p "$src"
	tar -xf "$out"/dl/util-linux_*.orig.tar.* --strip-components=1 --no-same-owner -C "$src"
	for patch in "$top"/patches/util-linux/0*.patch; do
		patch -d "$src" -p1 --fuzz=0 <"$patch"
	done
	cd "$src"
	./configure --disable-all-programs --enable-libsmartcols --enable-lsmem --disable-shared \
		--disable-nls --disable-asciidoc --without-python --without-systemd --without-udev \
		--without-ncurses --without-ncursesw --without-tinfo --without-readline --without-selinux
	make -j"$JOBS" lsmem
}

case ${1:-} in
_download) download; exit ;;
_compile) compile; exit ;;
esac

mkdir -p "$out"
lock "$out/.lock"
now=$(echo "$version"; sha256sum "$top"/patches/util-linux/0*.patch)
if [ ! -x "$src/lsmem" ] || [ "$(cat "$out/.state" 2>/dev/null)" != "$now" ]; then
	{
		[ -e "$out/dl/util-linux_$version.dsc" ] ||
			step 1 2 "util-linux $version: get the source" "$logdir/util-linux-dl.log" "$0" _download
		step 2 2 "util-linux $version: build lsmem" "$logdir/util-linux-build.log" "$0" _compile
	} >&2
	echo "$now" >"$out/.state"
fi
echo "$src/lsmem"
