# Sourced by demo/run and demo/files, in the checkout: what both begin with. Everything they make lies in demo-out/; what is there is used again.
. demo/pythons.bash
out=demo-out
# What the caller has set for other programs is none of ours.
unset PYE PYE_LOG PYE_PACKAGES PYTHONHOME PYTHONPATH PYTHONPYCACHEPREFIX PYTHONOPTIMIZE PYTHONDONTWRITEBYTECODE

# Where commands are shown, also when their output goes to a log.
exec 3>&1

step=0
heading() {
    step=$((step + 1))
    printf '\n== %d. %s\n' "$step" "$*"
}

die() {
    echo "demo: $*" >&2
    exit 1
}

# Each command has a session of its own, so that whatever ends the demo ends all that the command has started, too.
job=
finish() {
    trap '' HUP INT TERM
    [ -z "$job" ] || kill -- "-$job" 2>/dev/null || true
    wait
    exit "$1"
}
trap 'finish 129' HUP
trap 'finish 130' INT
trap 'finish 143' TERM

# as_job COMMAND...: runs it and returns its exit status.
as_job() {
    local status=0
    setsid "$@" </dev/null &
    job=$!
    wait "$job" || status=$?
    job=
    return $status
}

# run COMMAND...: prints the command as one would type it, then runs it.
run() {
    {
        printf '$'
        printf ' %s' "$@"
        printf '\n'
    } >&3
    as_job "$@"
}

# logged COMMAND...: the same, but what it prints is shown only when it fails.
logged() {
    local status=0
    run "$@" >"$here/log" 2>&1 || status=$?
    [ $status = 0 ] || tail -n 20 "$here/log" >&2
    return $status
}

# Sets python, version, here (the directory for what is made with that interpreter), venv, and requirements.
choose_python() {
    command -v cargo >/dev/null || die "cargo is missing: install Rust from https://rustup.rs"
    command -v cc >/dev/null || die "a linker is missing: install gcc"
    if [ -n "${PYTHON:-}" ]; then
        python=$(command -v "$PYTHON") || die "PYTHON=$PYTHON: no such program"
        [ -n "$(describe "$python")" ] ||
            die "PYTHON=$PYTHON is no release build of CPython 3.9 to 3.15 outside a virtual environment"
    else
        python=$(candidates | sort -u | while read -r path; do
            found=$(describe "$path")
            [ -z "$found" ] || echo "${found%% *} $path"
        done | sort -n | tail -n 1 | cut -d ' ' -f 2-)
        [ -n "$python" ] ||
            die "no CPython 3.9 to 3.15 on PATH, under pyenv or uv; install one (e.g. uv python install 3.14) or set PYTHON="
    fi
    version=$(describe "$python")
    version=${version##* }
    here=$out/python-$version
    venv=$here/venv
    # The packages of the worker benchmark, by the one table that has them.
    requirements=($("$python" -B -c '
import sys
sys.path.insert(0, "benches/workers")
import environment
print(*environment.requirements(sys.version_info[:2], ["django"]))'))
    echo "Python $version: $python"
}

# The virtual environment, with its packages.
make_venv() {
    local wanted="$python: ${requirements[*]}"
    if [ "$(cat "$here/installed" 2>/dev/null || true)" = "$wanted" ] && "$venv/bin/python" -c '' 2>/dev/null; then
        echo "there already: $venv"
        return
    fi
    rm -rf "$here"
    mkdir -p "$here"
    logged "$python" -m venv "$venv" || without_ensurepip
    # An older pip would copy the checkout, with all that was built in it, to install pye.
    logged "$venv/bin/python" -m pip install --quiet --no-input --disable-pip-version-check 'pip>=21.3' "${requirements[@]}" || {
        # pip says "from versions: none" when it reached no index at all.
        if grep -qiE 'from versions: none|connection|resolve host|timed out|network' "$here/log"; then
            die "pip cannot reach the package index: the demo needs the network the first time"
        fi
        die "pip cannot install the packages for Python $version; another one may do: PYTHON=… make demo"
    }
    echo "$wanted" >"$here/installed"
}

# Debian has what `python -m venv` needs in a package of its own. Where it cannot be installed, another interpreter that can make
# virtual environments has virtualenv make this one.
without_ensurepip() {
    local package=python${version%.*}-venv other tools=$out/tools
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null && dpkg -S "$(readlink -f "$python")" >/dev/null 2>&1; then
        echo "It lacks ensurepip, which Debian has in the package $package."
        logged apt-get update -q
        logged env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "$package" &&
            logged "$python" -m venv --clear "$venv" && return
    fi
    for other in $(candidates | sort -u); do
        [ "$other" != "$python" ] && [ -n "$(describe "$other")" ] || continue
        "$other" -c 'import ensurepip, venv' 2>/dev/null || continue
        echo "It lacks ensurepip; virtualenv does without, run by $other."
        logged "$other" -m venv --clear "$tools" &&
            logged "$tools/bin/python" -m pip install --quiet --no-input --disable-pip-version-check virtualenv &&
            logged "$tools/bin/python" -m virtualenv --quiet --clear --python "$python" "$venv" && return
    done
    die "$python cannot make a virtual environment: on Debian 'apt install $package', or name another interpreter: PYTHON=… make demo"
}
