@echo off
rem Finds a Python and hands over to bootstrap.py, with all that was written after the command.
setlocal
chcp 65001 >nul
set "ENOUGH=import sys; sys.exit(sys.version_info < (3, 11))"
for %%P in ("py -3.13" "py -3.12" "py -3.11" "py -3.14" "py -3" "python" "python3") do (
    %%~P -c "%ENOUGH%" >nul 2>nul
    if not errorlevel 1 (
        set "PYTHON=%%~P"
        goto found
    )
)
echo No Python 3.11 or newer was found. Install one from python.org/downloads, then start again.
echo 没有找到 Python 3.11 或更新版本。请从 python.org/downloads 安装后重新启动。
pause
exit /b 1

:found
%PYTHON% "%~dp0bootstrap.py" %*
if errorlevel 1 (
    if not "%~1"=="test" pause
    exit /b 1
)
