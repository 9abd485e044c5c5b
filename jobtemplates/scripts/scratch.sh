scratch_problem() { # FOLDER KB: why no file of that size can be made there; nothing where one can
    local LC_ALL=C probe
    case $1 in
    *[[:cntrl:]]*) printf 'has a line break in its name' && return ;;
    /bundle | /bundle/*) printf 'is a folder of the container' && return ;;
    /*) ;;
    *) printf 'is not an absolute path' && return ;;
    esac
    if [[ $1 == *[!\ -~]* ]]; then # the container program takes mounts as UTF-8 text
        printf %s "$1" | iconv -f UTF-8 -t UTF-8 >/dev/null 2>&1 ||
            { printf 'is not UTF-8' && return; }
    fi
    [ -d "$1" ] || { printf 'is not a folder' && return; }
    [ ! "$1" -ef / ] || { printf 'is the root of all files' && return; }
    probe=$(umask 077 && mktemp -d "$1/bundle.XXXXXX" 2>/dev/null) ||
        { printf 'cannot be written' && return; }
    head -c "$2K" /dev/zero 2>/dev/null >"$probe/room" || printf 'has no room for %s kB' "$2"
    rm -rf -- "$probe"
}
use_scratch() { # KB: TMPDIR is a folder of this node with that room; else 1, and refused says why
    local LC_ALL=C problem other kb=$1 shown=${TMPDIR:-/tmp}
    # Empty it is a path for Open MPI. Without it Open MPI and Python go on to these.
    unset TEMP TMP
    [ -n "${TMPDIR:-}" ] || unset TMPDIR
    problem=$(trap '' USR2 && scratch_problem "$shown" "$kb")
    [ -n "$problem" ] || return 0
    [ "$problem" != 'is not UTF-8' ] || shown=${shown//[!\ -~]/?}
    other=$(trap '' USR2 && scratch_problem /tmp "$kb")
    refused="/tmp $other"
    [ "$shown" = /tmp ] || refused="TMPDIR=$shown $problem, $refused"
    [ -z "$other" ] || return 1
    export BUNDLE_TMPDIR_WARNING="TMPDIR=$shown $problem: /tmp is used"
    printf 'bundle: warning: %s: %s\n' "$node" "$BUNDLE_TMPDIR_WARNING" >&2
    unset TMPDIR
}
