# Shared set-up of scripts/run, test and prove. Sourced, never run.
#
# Everything here is done once: what is there already costs a few milliseconds and asks for nothing.

repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

# Says on standard error what is about to happen.
say() { printf '==> %s\n' "$*" >&2; }

# Ends with a sentence on standard error.
fail() {
    printf '%s\n' "$*" >&2
    exit 1
}

# Runs a command as root.
as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        fail "安装系统软件包需要 root 权限；请用 root 运行，或先安装 sudo（this needs root or sudo: $*）"
    fi
}

# Installs those of the named Debian packages that are missing.
need_packages() {
    local missing=() package
    if ! command -v dpkg-query >/dev/null; then
        say "不是 Debian/Ubuntu，请自行安装 not Debian or Ubuntu, please see to these yourself: $*"
        return
    fi
    for package in "$@"; do
        dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q '^install ok installed$' || missing+=("$package")
    done
    [ ${#missing[@]} -eq 0 ] && return
    say "安装系统软件包 installing: ${missing[*]}"
    as_root apt-get update -qq
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >&2
}

# Tells whether version $1 is at least version $2.
at_least() { [ "$(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1)" = "$2" ]; }

# Tells whether the Rust toolchain on the path can build this crate.
rust_is_new_enough() {
    command -v cargo >/dev/null && command -v rustc >/dev/null && at_least "$(rustc --version | cut -d ' ' -f 2)" "$1"
}

# Makes `cargo` a toolchain that can build this crate: the one that is there, the distribution's, or rustup's.
need_rust() {
    local wanted candidate
    wanted=$(sed -n 's/^rust-version = "\(.*\)"$/\1/p' "$repository/Cargo.toml")
    PATH="$PATH:${CARGO_HOME:-${HOME:-/root}/.cargo}/bin"
    rust_is_new_enough "$wanted" && return
    command -v apt-get >/dev/null || fail "需要 Rust $wanted 或更新版本；请先安装（Rust $wanted or newer is needed）"
    # Debian keeps a current toolchain for its browsers, under names of its own.
    as_root apt-get update -qq
    candidate=$(apt-cache policy cargo-web | sed -n 's/^ *Candidate: \([0-9.]*\).*/\1/p')
    if [ -n "$candidate" ] && at_least "$candidate" "$wanted"; then
        need_packages rustc-web cargo-web rustfmt-web rust-web-clippy
        PATH="/usr/bin:$PATH"
    elif [ -n "$(apt-cache policy rustup)" ] || command -v rustup >/dev/null; then
        command -v rustup >/dev/null || need_packages rustup
        say "安装 Rust 工具链 installing a Rust toolchain"
        rustup toolchain install stable --profile minimal --component clippy,rustfmt >&2
        export RUSTUP_TOOLCHAIN=stable
    fi
    hash -r
    rust_is_new_enough "$wanted" || fail "需要 Rust $wanted 或更新版本；请先安装（Rust $wanted or newer is needed）"
}

# What it takes to build: the toolchain, ALSA's headers, a C compiler and cmake for the Opus decoder.
need_build() {
    need_packages ca-certificates pkg-config libasound2-dev cmake gcc g++ make
    need_rust
}

# What it takes to test: a sound server that needs no sound card, a clock that runs fast for it, files of every format,
# a browser with the program that drives it, type for its pictures, and the database that a large office keeps.
need_tests() {
    need_build
    need_packages pulseaudio pulseaudio-utils faketime ffmpeg chromium chromium-driver fonts-noto-cjk postgresql
}
