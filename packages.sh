# packages.sh: the Debian packages that osfs is built and tested with. Sourced by
# quickstart and run-tests.
# shellcheck shell=bash

packages_build="gcc make autoconf automake pkg-config libfuse3-dev fuse3 libisal-dev liburing-dev uuid-dev libblkid-dev
libjansson-dev libssl-dev"
packages_test="check libsubunit-dev e2fsprogs mdadm attr acl fdisk python3 git sqlite3 tar cpio kmod busybox-static
qemu-system-x86 linux-image-amd64"

# packages_install SET...: installs what is missing; without root it says what to install.
packages_install() {
    local set want=() p
    for set in "$@"; do
        local list="packages_$set"
        for p in ${!list}; do
            [ "$(dpkg-query -W -f='${db:Status-Status}' "$p" 2>/dev/null)" = installed ] || want+=("$p")
        done
    done
    [ ${#want[@]} = 0 ] && return 0
    if ! command -v apt-get >/dev/null 2>&1; then
        echo "${0##*/}: not Debian; needed (by Debian's names): ${want[*]}" >&2
        return 0
    fi
    if [ "$(id -u)" != 0 ]; then
        echo "${0##*/}: please install first: apt-get install ${want[*]}" >&2
        return 1
    fi
    echo "${0##*/}: installing ${want[*]}"
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq && apt-get install -y -qq --no-install-recommends "${want[@]}" >/dev/null || {
        echo "${0##*/}: apt-get could not install them" >&2
        return 1
    }
}
