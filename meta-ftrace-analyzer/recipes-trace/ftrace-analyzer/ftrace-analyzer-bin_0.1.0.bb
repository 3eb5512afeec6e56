# SPDX-License-Identifier: MIT

SUMMARY = "ftrace-analyzer as its own static program, built outside of this build"
DESCRIPTION = "The project's static artefact for boards (cross/build): smaller and faster to start than a dynamic program."
HOMEPAGE = "https://example.org/ftrace-analyzer"
BUGTRACKER = "https://example.org/ftrace-analyzer/issues"
SECTION = "devel"
LICENSE = "(Apache-2.0 | MIT) & MIT"
# nooelint: oelint.var.licenseremotefile - the artefact is the program alone
LIC_FILES_CHKSUM = "\
    file://${COMMON_LICENSE_DIR}/Apache-2.0;md5=89aea4e17d99a7cacdbeed46a0096b10 \
    file://${COMMON_LICENSE_DIR}/MIT;md5=0835ade698e0bcf8506ecda2f7b4f302 \
"

CVE_PRODUCT = "ftrace-analyzer"

PROVIDES += "ftrace-analyzer"

# The directory that holds the program ftrace-analyzer for this machine, as "cross/build TARGET" of the source prints it
# (its last line), or as it was unpacked from a release. Without it there is no such recipe.
FTRACE_ANALYZER_ARTEFACT_DIR ??= ""
SRC_URI = "file://ftrace-analyzer"
# nooelint: oelint.vars.fileextrapaths - the artefact lies outside of the layer
FILESEXTRAPATHS:prepend := "${FTRACE_ANALYZER_ARTEFACT_DIR}:"

# Early releases of scarthgap have no UNPACKDIR.
FTRACE_ANALYZER_UNPACKDIR = "${@d.getVar('UNPACKDIR') or d.getVar('WORKDIR')}"
S = "${FTRACE_ANALYZER_UNPACKDIR}"

COMPATIBLE_HOST = "(aarch64|arm|x86_64).*-linux.*"

# nooelint: oelint.task.noanonpython - a recipe is left out by nothing else
python () {
    if not d.getVar("FTRACE_ANALYZER_ARTEFACT_DIR"):
        raise bb.parse.SkipRecipe("FTRACE_ANALYZER_ARTEFACT_DIR names no directory with the static program")
}

do_configure[noexec] = "1"
do_compile[noexec] = "1"

do_install() {
    install -d ${D}${bindir}
    install -m 0755 ${FTRACE_ANALYZER_UNPACKDIR}/ftrace-analyzer ${D}${bindir}/ftrace-analyzer
}

RRECOMMENDS:${PN} = "ftrace-analyzer-tracefs"
RPROVIDES:${PN} = "ftrace-analyzer"
RCONFLICTS:${PN} = "ftrace-analyzer"

# It was stripped by its own build, and there is nothing to split off.
INHIBIT_PACKAGE_STRIP = "1"
INHIBIT_PACKAGE_DEBUG_SPLIT = "1"
# nooelint: oelint.vars.insaneskip - that the artefact comes stripped is what makes it the one that was tested
INSANE_SKIP:${PN} = "already-stripped"
