@echo off
rem Sets up what the tests need and runs all that CI runs. One part alone: lint, types, fast, slow or browser
call "%~dp0start.bat" test %*
