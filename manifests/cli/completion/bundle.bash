bundle() { BUNDLE_CALLED=bundle @program@ "$@"; }

_bundle_completion() {
    local kind text
    COMPREPLY=()
    while IFS=$'\t' read -r kind text; do
        case $kind in
            word) COMPREPLY+=("$text") ;;
            open) COMPREPLY+=("$text") && compopt -o nospace ;;
            dir) compopt -o dirnames ;;
            file) compopt -o default ;;
        esac
    done < <(@asked@=bash @answers@ "${COMP_LINE:0:COMP_POINT}" "$COMP_WORDBREAKS" 2>/dev/null)
}

# Before bash 4.4 there is no nosort.
complete -o nosort -F _bundle_completion bundle bundle.py 2>/dev/null ||
    complete -F _bundle_completion bundle bundle.py
