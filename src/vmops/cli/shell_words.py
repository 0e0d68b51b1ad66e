"""Completion of words in a shell, where a name from a server is one word and nothing more.

bash puts a completion on the command line as it is: what it takes for a command or a variable is
escaped here. zsh and fish do that themselves, but for a ``~`` at the beginning, which fish leaves
to mean a home: what begins with one is not offered there.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import ClassVar

from click.shell_completion import BashComplete, CompletionItem, FishComplete, add_completion_class

from vmops.cli.terminal import has_control_characters

_SPECIAL = re.compile(r"[^\w./:@%+,=-]")
_BASH = """\
%(complete_func)s() {
    local kind value
    COMPREPLY=()
    while IFS=, read -r kind value; do
        case $kind in
            dir) compopt -o dirnames ;;
            file) compopt -o default ;;
            plain) COMPREPLY+=("$value") ;;
        esac
    done < <(
        COMP_WORDS="${COMP_WORDS[*]}" COMP_CWORD=$COMP_CWORD \\
            %(complete_var)s=bash_complete "$1"
    )
}
complete -o nosort -F %(complete_func)s %(prog_name)s
"""


_FISH = """\
function %(complete_func)s;
    set -l response (env %(complete_var)s=fish_complete COMP_WORDS=(commandline -cp) \
        COMP_CWORD=(commandline -t) %(prog_name)s);
    for completion in $response;
        set -l found (string split --max 1 "," $completion);
        switch $found[1];
            case dir;
                __fish_complete_directories $found[2];
            case file;
                __fish_complete_path $found[2];
            case plain;
                echo $found[2];
        end;
    end;
end;
complete --no-files --command %(prog_name)s --arguments "(%(complete_func)s)";
"""


class Fish(FishComplete):
    """Completion in fish, of words with commas, too."""

    name: ClassVar[str] = "fish"
    source_template: ClassVar[str] = _FISH

    def get_completions(self, args: list[str], incomplete: str) -> list[CompletionItem[str]]:
        """Those that fish puts on its line as they are."""
        found = super().get_completions(args, incomplete)
        return [item for item in found if not str(item.value).startswith("~")]


class Bash(BashComplete):
    """Completion in bash, of words that it would otherwise take apart or run."""

    name: ClassVar[str] = "bash"
    source_template: ClassVar[str] = _BASH

    def format_completion(self, item: CompletionItem[str]) -> str:
        """The kind and the word as one line."""
        return f"{item.type},{word(str(item.value))}"


def word(text: str) -> str:
    """The text as one word of bash's, in the form that goes on what was typed of it."""
    escaped = _SPECIAL.sub(lambda found: "\\" + found[0], text)
    return "\\" + escaped if escaped.startswith("~") else escaped


def completions(names: Iterable[str], incomplete: str) -> list[CompletionItem[str]]:
    """Those of the names that begin like this, can be typed, and are no options."""
    return [
        CompletionItem(name)
        for name in names
        if name.startswith(incomplete)
        and not name.startswith("-")
        and not has_control_characters(name)
    ]


def register() -> None:
    """Let click use what is here."""
    add_completion_class(Bash)
    add_completion_class(Fish)
