scratch_problem() { # FOLDER: why no file can be made there; nothing where one can
    case $1 in
    *[[:cntrl:]]*) printf 'has a line break in its name' && return ;;
    /*) ;;
    *) printf 'is not an absolute path' && return ;;
    esac
    [ -d "$1" ] || { printf 'is not a folder' && return; }
    local probe
    probe=$(umask 077 && mktemp -d "$1/bundle.XXXXXX" 2>/dev/null) && rmdir "$probe" && return
    printf 'cannot be written'
}
use_scratch() { # TMPDIR is a folder of this node that can be written; returns 1 where there is none
    local problem
    problem=$(trap '' USR2 && scratch_problem "${TMPDIR:-/tmp}")
    [ -n "$problem" ] || return 0
    [ -z "$(trap '' USR2 && scratch_problem /tmp)" ] || return 1
    export BUNDLE_TMPDIR_WARNING="TMPDIR=${TMPDIR:-/tmp} $problem: /tmp is used"
    printf 'bundle: warning: %s: %s\n' "$node" "$BUNDLE_TMPDIR_WARNING" >&2
    unset TMPDIR
}
