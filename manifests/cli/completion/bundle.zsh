bundle() { BUNDLE_CALLED=bundle @program@ "$@" }

_bundle_completion() {
    local kind text help line
    local -a words_with_help words_alone open paths
    for line in ${(f)"$(@asked@=zsh @answers@ "${(@Q)words[2,CURRENT-1]}" "${(Q)PREFIX}" 2>/dev/null)"}; do
        IFS=$'\t' read -r kind text help <<< $line
        case $kind in
            word)
                if [[ -n $help ]]; then
                    words_with_help+=("${text//:/\\:}:$help")
                else
                    words_alone+=("$text")
                fi ;;
            open) open+=("$text") ;;
            dir) paths=(-/) ;;
            file) paths=(-f) ;;
        esac
    done
    (( $#words_with_help )) && _describe -V bundle words_with_help
    (( $#words_alone )) && compadd -V bundle -a words_alone
    (( $#open )) && compadd -V bundle -S '' -a open
    if (( $#paths )); then
        [[ $PREFIX == --*=* ]] && compset -P 1 '*='
        _path_files $paths
    fi
}

(( $+functions[compdef] )) || { autoload -Uz compinit && compinit -i }
compdef _bundle_completion bundle bundle.py
