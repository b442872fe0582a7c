"""The Chromium that browser tests drive: where it is, and how to get one. Knows nothing of the tests."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
DEBIAN_PACKAGES = ("chromium", "fonts-noto-cjk")


def installed() -> str | None:
    """The path of the system's own browser; None leaves the choice to Playwright, which keeps one of its own."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


def provide() -> bool:
    """Make sure that there is one; False after a message when it could not be had."""
    if is_debian():
        return provide_on_debian()
    if installed():
        return True
    print("Fetching Chromium for Playwright.", flush=True)
    if subprocess.run([sys.executable, "-m", "playwright", "install", "chromium"], check=False).returncode == 0:
        return True
    print("No browser was found and Playwright could not fetch one. Install Chromium or Google Chrome, then try again.")
    return False


def is_debian() -> bool:
    """Whether apt has a real chromium package here; Ubuntu's is only a pointer to a snap."""
    release = Path("/etc/os-release")
    return release.is_file() and "ID=debian" in release.read_text("utf-8").splitlines()


def provide_on_debian() -> bool:
    """Install the packages that are missing, as root or through sudo."""
    missing = [name for name in DEBIAN_PACKAGES if not has_package(name)]
    if missing == [] or (missing == ["chromium"] and installed()):
        return True
    sudo = [] if os.geteuid() == 0 else ["sudo"]
    if sudo and not shutil.which("sudo"):
        print(f"Missing: {', '.join(missing)}. As root: apt-get install {' '.join(missing)}. Then try again.")
        return False
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (["update"], ["install", "-y", "--no-install-recommends", *missing]):
        if subprocess.run([*sudo, "apt-get", *command], check=False, env=environment).returncode:
            print(f"apt-get could not install {', '.join(missing)} (its words are above). Install them, then try again.")
            return False
    return True


def has_package(name: str) -> bool:
    """Whether dpkg has the package whole."""
    asked = ["dpkg-query", "-W", "-f", "${db:Status-Status}", name]
    return subprocess.run(asked, capture_output=True, text=True, check=False).stdout == "installed"
