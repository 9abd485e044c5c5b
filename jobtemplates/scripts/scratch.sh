scratch_problem() { # FOLDER: why no file can be made there; nothing where one can
    local LC_ALL=C probe
    case $1 in
    *[[:cntrl:]]*) printf 'has a line break in its name' && return ;;
    /*) ;;
    *) printf 'is not an absolute path' && return ;;
    esac
    if [[ $1 == *[!\ -~]* ]]; then # the container program takes mounts as UTF-8 text
        printf %s "$1" | iconv -f UTF-8 -t UTF-8 >/dev/null 2>&1 ||
            { printf 'is not UTF-8' && return; }
    fi
    [ -d "$1" ] || { printf 'is not a folder' && return; }
    probe=$(umask 077 && mktemp -d "$1/bundle.XXXXXX" 2>/dev/null) && rmdir "$probe" && return
    printf 'cannot be written'
}
use_scratch() { # TMPDIR is a folder of this node that can be written; returns 1 where there is none
    local LC_ALL=C problem shown=${TMPDIR:-/tmp}
    problem=$(trap '' USR2 && scratch_problem "$shown")
    [ -n "$problem" ] || return 0
    [ -z "$(trap '' USR2 && scratch_problem /tmp)" ] || return 1
    [ "$problem" != 'is not UTF-8' ] || shown=${shown//[!\ -~]/?}
    export BUNDLE_TMPDIR_WARNING="TMPDIR=$shown $problem: /tmp is used"
    printf 'bundle: warning: %s: %s\n' "$node" "$BUNDLE_TMPDIR_WARNING" >&2
    unset TMPDIR
}
