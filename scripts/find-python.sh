#!/bin/sh
# Print a Python that masklet runs on (3.10 to 3.14, with venv); say what is missing where there is none.
# PYTHON=/path/to/python3 chooses one.
for candidate in "${PYTHON:-}" python3.11 python3.12 python3.13 python3.10 python3.14 python3 python; do
    [ -n "$candidate" ] || continue
    command -v "$candidate" >/dev/null 2>&1 || continue
    if "$candidate" -c 'import sys, venv, ensurepip; sys.exit(not (3, 10) <= sys.version_info < (3, 15))' 2>/dev/null; then
        command -v "$candidate"
        exit 0
    fi
    [ "$candidate" = "${PYTHON:-}" ] && break
done
cat >&2 <<'EOF'
masklet needs Python 3.10, 3.11, 3.12, 3.13 or 3.14 with the venv module, and none was found.
  Debian, Ubuntu:  apt-get install python3 python3-venv
  Fedora:          dnf install python3
  macOS:           brew install python
  any:             PYTHON=/path/to/python3 make demo
EOF
exit 1
