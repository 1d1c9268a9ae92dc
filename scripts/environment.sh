# Sourced by the other scripts: make a virtual environment, install the project into it, once.
#
#   make_environment EXTRAS    e.g. "" or "[dev]"; sets $VENV
#
# PYTHON is the interpreter to use (python3 unless set), VENV the environment's folder (.venv).

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
VENV=${VENV:-$ROOT/.venv}
export PIP_DISABLE_PIP_VERSION_CHECK=1

make_environment() {
    local python=${PYTHON:-python3} wanted stamp=$VENV/.installed-$1
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' || {
        echo "Python 3.10 or newer is needed, $python is not; set PYTHON to one that is" >&2
        exit 2
    }
    [ -x "$VENV/bin/python" ] || "$python" -m venv "$VENV" || {
        echo "no virtual environment could be made (on Debian: apt-get install python3-venv)" >&2
        exit 2
    }
    wanted=$(cksum <"$ROOT/pyproject.toml")
    [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ] && return
    echo "installing into $VENV (about 5 GB, some minutes the first time)" >&2
    "$VENV/bin/pip" install --quiet --editable "$ROOT$1" >&2
    echo "$wanted" >"$stamp"
}
