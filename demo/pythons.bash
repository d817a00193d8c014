# Sourced: which CPythons are at hand. No shebang: it is not run by itself.

# The interpreters at hand, one a line: PATH, the prefixes in PYE_PYTHONS, pyenv, uv.
candidates() {
    local directory uv=${UV_PYTHON_INSTALL_DIR:-${XDG_DATA_HOME:-$HOME/.local/share}/uv/python}
    while read -r directory; do
        case $directory in
        */.pyenv/shims) ;; # scripts that fail for versions not chosen; the real ones follow
        *) compgen -G "$directory/python3.[0-9]*" | grep -E '/python3\.[0-9]+$' || true ;;
        esac
    done < <(tr ':' '\n' <<<"$PATH")
    while read -r directory; do
        [ -n "$directory" ] || continue
        compgen -G "$directory/bin/python3.[0-9]*" | grep -E '/python3\.[0-9]+$' || true
        compgen -G "$directory/usr/bin/python3.[0-9]*" | grep -E '/python3\.[0-9]+$' || true
    done < <(tr ':' '\n' <<<"${PYE_PYTHONS:-}")
    compgen -G "${PYENV_ROOT:-$HOME/.pyenv}/versions/*/bin/python" || true
    compgen -G "$uv/cpython-*/bin/python3" || true
}

# describe PYTHON: "hexversion X.Y.Z" when it is a CPython that pye reads, 3.9 to 3.15, and no debug build.
describe() {
    "$1" -E -c '
import platform, sys
if (platform.python_implementation() == "CPython" and (3, 9) <= sys.version_info[:2] <= (3, 15)
        and not hasattr(sys, "gettotalrefcount") and sys.prefix == sys.base_prefix):
    print(sys.hexversion, "%d.%d.%d" % sys.version_info[:3])' 2>/dev/null </dev/null || true
}
