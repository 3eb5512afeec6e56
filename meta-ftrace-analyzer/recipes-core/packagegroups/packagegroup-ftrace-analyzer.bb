# SPDX-License-Identifier: MIT

SUMMARY = "ftrace-analyzer and what makes it work on an image"
SUMMARY:${PN}-full = "ftrace-analyzer with core dumps, and for users without privileges"
DESCRIPTION = "The program, tracefs and hooks, which trace what asks for it; -full: core dumps and the helper for users."
HOMEPAGE = "https://example.org/ftrace-analyzer"
BUGTRACKER = "https://example.org/ftrace-analyzer/issues"
SECTION = "devel"

inherit packagegroup

PACKAGES = "${PN} ${PN}-full"

RDEPENDS:${PN} = "\
    ftrace-analyzer \
    ftrace-analyzer-tracefs \
"
# These change the machine for all: who wants them says so.
RDEPENDS:${PN}-full = "${PN}"

# Recommended, because PACKAGECONFIG of ftrace-analyzer-conf may leave them out.
RRECOMMENDS:${PN} = "\
    ftrace-analyzer-hooks-bundle \
    ftrace-analyzer-hooks-cdi \
    ftrace-analyzer-hooks-podman-crio \
"
RRECOMMENDS:${PN}-full = "\
    ftrace-analyzer-core \
    ftrace-analyzer-serve \
"
