#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# bootstrap.sh [TARGET|VAR=VALUE...]: make, where make itself may be missing.

set -eu
cd "$(dirname "$0")/.."
if ! command -v make >/dev/null; then
	sudo=
	if [ "$(id -u)" -ne 0 ]; then
		command -v sudo >/dev/null || {
			echo "make is missing; as root: apt-get install make" >&2
			exit 1
		}
		sudo=sudo
	fi
	echo "installing the Debian package make"
	DEBIAN_FRONTEND=noninteractive
	export DEBIAN_FRONTEND
	$sudo apt-get update -q >/dev/null
	$sudo apt-get install -yq --no-install-recommends make >/dev/null
fi
exec make "$@"
