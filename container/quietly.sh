# shellcheck shell=bash
# What installers print goes into a log; a person sees it where something fails.
quietly() { # LOG COMMAND…
    local log=$1 status=0
    shift
    printf '$ %s\n' "$*" >>"$log"
    "$@" >>"$log" 2>&1 </dev/null || status=$?
    [ "$status" -eq 0 ] && return
    tail -n 20 "$log" >&2
    printf 'bundle: %s ended with status %s\n-> see %s\n' "${1##*/}" "$status" "$log" >&2
    return "$status"
}
