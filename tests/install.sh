#!/usr/bin/env bash
# Put on this machine what some tests need: Slurm and Grid Engine, shellcheck, a C compiler, ssh-keygen. Starts nothing.
#
#   install.sh [long]
#
# With `long` also what the tests of `make test-long` need: a browser, and an emulator of processors.
# Only on Debian as root, and only what is missing. Elsewhere it says why not and ends with 0: those
# tests then skip with their reason. Users of bundle never need this.
set -euo pipefail
PATH=$PATH:/usr/sbin:/sbin

have() { command -v "$1" >/dev/null 2>&1; }
skip() {
    printf 'bundle: some tests will be skipped: %s\n' "$1" >&2
    exit 0
}

packages=()
if ! have slurmctld || ! have slurmd || ! have sbatch || ! have munged; then
    packages+=(slurmctld slurmd slurm-client munge)
fi
if ! have sge_qmaster || ! have sge_execd || ! have qsub; then
    # Its mail program wants a mail server: the smallest one.
    packages+=(nullmailer gridengine-master gridengine-exec gridengine-client)
fi
have shellcheck || packages+=(shellcheck)
have tmux || packages+=(tmux)
have ssh-keygen || packages+=(openssh-client)
have cc || packages+=(gcc libc6-dev)
if [ "${1:-}" = long ]; then
    have chromium || packages+=(chromium fonts-dejavu-core)
    have qemu-x86_64-static || packages+=(qemu-user-static)
fi
[ "${#packages[@]}" -gt 0 ] || exit 0
have apt-get || skip "${packages[*]}: they come from Debian packages"
[ "$(id -u)" = 0 ] || skip "${packages[*]}: root must once run: bash tests/install.sh"

# Debian starts services when it installs them, unless this file forbids it.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    trap 'rm -f "$policy"' EXIT
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
fi
export DEBIAN_FRONTEND=noninteractive
{
    apt-get update -qq &&
        apt-get install -y -qq --no-install-recommends -o DPkg::Lock::Timeout=300 "${packages[@]}"
} >&2 || skip 'apt-get could not install them'
