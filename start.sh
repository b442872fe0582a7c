#!/bin/sh
# Finds a Python and hands over to bootstrap.py, with all that was written after the command.
here=$(CDPATH= cd -- "$(dirname -- "$0")" && pwd)
for python in python3.13 python3.12 python3.11 python3.14 python3 python; do
    if "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then
        exec "$python" "$here/bootstrap.py" "$@"
    fi
done
echo "No Python 3.11 or newer was found. Install one, then start again:" >&2
echo "没有找到 Python 3.11 或更新版本。请安装后重新启动：" >&2
echo "  Debian, Ubuntu:  sudo apt install python3 python3-venv" >&2
echo "  macOS:           brew install python" >&2
echo "  all / 其他:      python.org/downloads" >&2
exit 1
