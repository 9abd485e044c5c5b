function bundle
    env BUNDLE_CALLED=bundle @program@ $argv
end

function __bundle_completion
    set -l words (commandline -opc)
    set -l current (commandline -ct)
    for line in (env @asked@=fish @answers@ $words[2..-1] "$current" 2>/dev/null)
        set -l parts (string split -m 2 \t -- $line)
        set -l before (string match -r -- '^--[^=]*=' $current)
        set -l path (string replace -r -- '^--[^=]*=' '' $current)
        switch $parts[1]
            case word open
                printf '%s\t%s\n' $parts[2] "$parts[3]"
            case dir
                for found in (__fish_complete_directories $path)
                    echo "$before$found"
                end
            case file
                for found in (__fish_complete_path $path)
                    echo "$before$found"
                end
        end
    end
end

for name in bundle bundle.py
    complete --command $name --no-files --keep-order --arguments '(__bundle_completion)'
end
