"""Start here. No command: the window in the browser. A command, such as train: the same from a terminal."""

import os
import sys
from collections.abc import Sequence

from workbench.setup.terminal import say, system_language, words

BAD_INPUT = 2


def main(arguments: Sequence[str]) -> int:
    """Open the window or run a command; the exit code."""
    try:
        if arguments and (not arguments[0].startswith("-") or arguments[0] in ("-h", "--help")):
            return run_command(arguments)
        return run_window(arguments)
    except ModuleNotFoundError as missing:
        if (missing.name or "").startswith("workbench"):
            raise
        say(
            words(
                f"The package {missing.name} is not installed here. Needed: all of requirements.txt. Run ./start.sh "
                f"(start.bat on Windows): it installs what is missing.",
                f"此处未安装软件包 {missing.name}。需要 requirements.txt 中的全部软件包。"
                f"请运行 ./start.sh（Windows 上为 start.bat），它会补装缺少的部分。",
            )
        )
        return 1


def run_command(arguments: Sequence[str]) -> int:
    from workbench.cli import main as command
    from workbench.workspace import default_workspace

    return command(arguments, default_workspace())


def run_window(arguments: Sequence[str]) -> int:
    """Check the flags before anything heavy is imported, then open the window and stay."""
    from workbench.problems import UserError
    from workbench.text import choose_locale, load_locales
    from workbench.window_flags import read_window_flags
    from workbench.workspace import default_workspace, source_folder

    locales = load_locales(source_folder() / "locales")
    try:
        flags = read_window_flags(arguments, locales)
        from workbench.ui.window import open_window

        open_window(
            default_workspace(),
            host=flags.host,
            port=flags.port,
            lang=flags.lang,
            browser=flags.browser,
            auth=flags.auth,
        )
    except UserError as error:
        locale = locales[choose_locale(locales, system_language(os.environ, sys.platform))]
        for problem in error.problems:
            said = locale(problem.message)
            print(f"{problem.key}: {said}" if problem.key else said, file=sys.stderr)
        return BAD_INPUT
    except KeyboardInterrupt:
        return 0
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
