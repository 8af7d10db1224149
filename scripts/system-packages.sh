#!/bin/sh
# Install the programs that some tests drive: ffprobe looks at the videos that masklet writes, a browser opens the studio,
# node and npm (TypeScript) check its page.
# With apt and as root they are installed; otherwise this says what to do, and those tests are skipped.
set -eu

missing=""
command -v ffprobe >/dev/null 2>&1 || missing="$missing ffmpeg"
command -v chromium >/dev/null 2>&1 || command -v chromium-browser >/dev/null 2>&1 ||
    command -v google-chrome >/dev/null 2>&1 || missing="$missing chromium"
command -v node >/dev/null 2>&1 && command -v npm >/dev/null 2>&1 || missing="$missing nodejs npm"
[ -n "$missing" ] || exit 0

if command -v apt-get >/dev/null 2>&1 && [ "$(id -u)" = 0 ]; then
    export DEBIAN_FRONTEND=noninteractive
    # A package list may be too old, or missing altogether in a container.
    # shellcheck disable=SC2086
    apt-get install -y -q --no-install-recommends $missing >/dev/null 2>&1 || {
        apt-get update -q >/dev/null
        apt-get install -y -q --no-install-recommends $missing >/dev/null
    } || echo "Could not install:$missing. Tests that need them are skipped." >&2
else
    echo "Some tests need:$missing. They are skipped without." >&2
    echo "  Debian, Ubuntu:  sudo apt-get install$missing" >&2
    echo "  macOS:           brew install ffmpeg node; brew install --cask chromium" >&2
fi
