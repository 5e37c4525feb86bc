"""`avi completion`: the script that makes Tab complete commands, choices and settings."""

from avi.cli.command import Command, Line
from avi.errors import ConfigError

# A word ending in = . or / goes on: no space behind it. bash cuts words at =, hence the strip.
SCRIPTS = {
    "bash": r"""_avi() {
    local line="${COMP_LINE:0:$COMP_POINT}" IFS=$'\n'
    local word="${line##* }"
    COMPREPLY=($(avi complete "$line" 2>/dev/null))
    if [[ "$word" == *=* && "$COMP_WORDBREAKS" == *=* ]]; then
        COMPREPLY=("${COMPREPLY[@]#"${word%%=*}="}")
    fi
    if [[ "${COMPREPLY[0]}" == *[=./] ]]; then
        compopt -o nospace
    fi
}
complete -F _avi avi
""",
    "zsh": r"""#compdef avi
_avi() {
    local -a found
    found=("${(@f)$(avi complete "${(j: :)words[1,CURRENT-1]} $PREFIX" 2>/dev/null)}")
    compadd -Q -S '' -- ${(M)found:#*[=./]}
    compadd -Q -- ${found:#*[=./]}
}
compdef _avi avi
""",
    "fish": r"""complete -c avi -e
complete -c avi -f -a '(avi complete (commandline -cp | string collect) 2>/dev/null)'
""",
}


def run(words: list[str]) -> int:
    """Print the script that a shell sources."""
    if len(words) != 1 or words[0] not in SCRIPTS:
        raise ConfigError("Which shell? Type: avi completion bash, zsh or fish.")
    print(SCRIPTS[words[0]], end="")
    return 0


def offer(line: Line) -> list[str]:
    """Return the shells."""
    from avi.cli import offers

    return offers.starting(line.current, SCRIPTS)


COMMAND = Command(
    name="completion",
    summary="print the completion script for bash, zsh or fish",
    usage="avi completion bash|zsh|fish",
    examples="""\
  eval "$(avi completion bash)"             in ~/.bashrc
  eval "$(avi completion zsh)"              in ~/.zshrc, after compinit
  avi completion fish | source              in ~/.config/fish/config.fish
""",
    run=run,
    offer=offer,
    title="Print a script that makes Tab complete commands, choices and settings",
    answers_only=True,
)
