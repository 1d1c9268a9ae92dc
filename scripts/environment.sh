# Sourced by the other scripts: install the project into a virtual environment, or run it.
#
#   make_environment EXTRAS    e.g. "" or "[dev]"; sets $VENV
#   show_pip                   show pip's lines from standard input as progress
#   run_program ARGUMENT…      run raytune-yesno where it is installed; install nothing
#
# PYTHON is the interpreter to use (python3 unless set), VENV the environment's folder (.venv),
# CONSTRAINTS the file of versions (cluster/constraints.txt); with /dev/null they are the newest.

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
VENV=${VENV:-$ROOT/.venv}
export PIP_DISABLE_PIP_VERSION_CHECK=1

# -I: nothing is imported from the working directory, which may hold files of other people.
make_environment() {
    local python=${PYTHON:-python3} wanted stamp=$VENV/.installed-$1 pins=${CONSTRAINTS:-} version
    "$python" -I -c 'import sys; sys.exit(sys.version_info < (3, 10))' || {
        echo "Python 3.10 or newer is needed, $python is not; set PYTHON to one that is" >&2
        exit 2
    }
    # pip comes last: a folder without it was left half made, and is completed.
    [ -x "$VENV/bin/python" ] && [ -x "$VENV/bin/pip" ] || "$python" -I -m venv "$VENV" || {
        echo "no virtual environment could be made (on Debian: apt-get install python3-venv)" >&2
        exit 2
    }
    if [ -z "$pins" ]; then
        pins=$ROOT/cluster/constraints.txt
        version=$("$VENV/bin/python" -I -c 'import sys; print("%d.%d" % sys.version_info[:2])')
        grep -q "with Python $version:" "$pins" || {
            echo "Python $version: not the one whose versions were tested together ($pins)" >&2
            pins=/dev/null
        }
    fi
    wanted=$(cat "$ROOT/pyproject.toml" "$pins" | cksum)
    [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ] && return
    echo "installing into $VENV (6.5 GB, some minutes the first time)" >&2
    # Wheels alone: nothing that is installed runs code of its own on the way.
    "$VENV/bin/pip" install --progress-bar off --only-binary :all: --constraint "$pins" \
        --editable "$ROOT$1" | show_pip >&2
    [ "${PIPESTATUS[0]}" = 0 ] || exit 1
    echo "installed in $SECONDS s" >&2
    echo "$wanted" >"$stamp"
}

# A terminal shows what pip is doing on one line, with the seconds so far; elsewhere a line is
# printed at most every 10 s.
show_pip() {
    local line doing=starting began=$SECONDS next=0 columns code
    [ ! -t 1 ] || columns=$(stty size <&2 2>/dev/null | cut -d' ' -f2) || true
    while true; do
        code=0
        IFS= read -r -t 1 line || code=$?
        case $code:$line in
            0:*Collecting* | 0:*Processing* | 0:*Downloading* | 0:*Using\ cached*) doing=${line#"${line%%[! ]*}"} ;;
            0:Installing\ collected*) doing="unpacking $(wc -w <<<"${line#*:}") packages" ;;
            [1-9]:*) break ;; # the end; a code above 128 is a second without a line
        esac
        line="$((SECONDS - began)) s  $doing"
        if [ -t 1 ]; then
            printf '\r\033[K%s' "${line:0:$((${columns:-80} - 1))}"
        elif [ $((SECONDS - began)) -ge "$next" ]; then
            echo "$line"
            next=$((SECONDS - began + 10))
        fi
    done
    [ ! -t 1 ] || printf '\r\033[K'
}

# The active environment comes first, then VENV or .venv, then the PATH.
run_program() {
    local folder program
    for folder in "${VIRTUAL_ENV:-}" "$VENV"; do
        program=$folder/bin/raytune-yesno
        [ ! -x "$program" ] || exec "$program" "$@"
    done
    program=$(command -v raytune-yesno) && exec "$program" "$@"
    echo "raytune-yesno is not installed: activate its environment, or run scripts/quickstart" >&2
    exit 2
}
