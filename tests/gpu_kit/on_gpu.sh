#!/usr/bin/env bash
# On the machine with the GPU: take the pieces of the kit, assemble them, run the stages.
#
#   on_gpu.sh put              copy this folder's pieces to $KIT (/tmp/kit); once per call
#   on_gpu.sh run [--pretend] [--seconds N] [STAGE...]
#
# STAGE: facts tests verbs bench. Without names all of them in this order. What comes home goes to $OUT.
# --pretend does on a CPU what the project can do there, to find this script's own faults.
set -uo pipefail
here=$(cd "$(dirname "$0")" && pwd)
KIT=${KIT:-/tmp/kit}
OUT=${OUT:-$KIT/out}
export KIT OUT
PATH=$PATH:/usr/local/nvidia/bin
mkdir -p "$KIT/pieces" "$OUT"
begun=$SECONDS
say() { printf 'kit %4d s: %s\n' "$((SECONDS - begun))" "$*"; }
fail() {
    say "FAILED: $*"
    exit 1
}

put() {
    cp "$here"/piece.* "$KIT/pieces/" || fail "no pieces beside $0"
    if [ -d "$here/boot" ]; then cp -r "$here/boot" "$KIT/"; fi
    [ "$here" = "$KIT" ] || cp "$0" "$KIT/" # a later call needs no folder: bash /tmp/kit/on_gpu.sh run bench
    say "pieces here: $(cd "$KIT/pieces" && echo piece.*)"
}

assemble() {
    [ ! -f "$KIT/assembled" ] || return 0
    local boot=$KIT/boot first loader
    first=$(cat "$boot/first_size") || fail "boot/ is not here: put the last folder too"
    # The carried zstd with the carried loader: whatever C library this machine has.
    loader=("$boot/lib/ld-linux-x86-64.so.2" --library-path "$boot/lib" "$boot/zstd" -q -d --long=27)
    (cd "$KIT/pieces" && sha256sum --quiet -c "$boot/pieces.sha256") ||
        fail "a piece is missing or damaged (piece.00 is that of folder 1): send and put it again"
    say "pieces are whole"
    cat "$KIT"/pieces/piece.* >"$KIT/payload"
    mkdir -p "$KIT/tree"
    tail -c "+$((first + 1))" "$KIT/payload" | "${loader[@]}" -c >"$KIT/code.raw" &
    local code=$!
    head -c "$first" "$KIT/payload" | "${loader[@]}" -c | tar -xf - -C "$KIT/tree" || fail "tar"
    wait "$code" || fail "the code stream cannot be unpacked"
    say "unpacked"
    mv "$KIT/code.raw" "$KIT/tree/code.raw"
    python3 "$boot/fatbin.py" restore "$KIT/tree/root" "$KIT/tree/code" "$boot/lib/liblz4.so.1" || fail "restore"
    rm -f "$KIT/payload" "$KIT/tree/code.raw"
    (cd "$KIT/tree" && sha256sum --quiet -c "$boot/libraries.sha256") ||
        say "WARNING: libraries have other bytes than where the kit was made (another liblz4?)"
    : >"$KIT/assembled"
    say "assembled"
}

case ${1:-} in
put) put ;;
run)
    shift
    assemble
    say "disk: $(df -h "$KIT" | tail -n 1)"
    cd "$KIT/tree/project" || fail "the project is not here"
    PYTHONDONTWRITEBYTECODE=1 exec python3 -u -m tests.gpu_kit.stages "$@"
    ;;
*) fail "usage: on_gpu.sh put | run [--pretend] [--seconds N] [STAGE...]" ;;
esac
