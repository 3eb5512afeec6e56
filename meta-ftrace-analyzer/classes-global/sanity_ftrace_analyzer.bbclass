# SPDX-License-Identifier: MIT
# Warns once a build if the layer is there without its DISTRO_FEATURE, for then kernel and container runtimes are left as
# they are, and images may have a program that can not record.

addhandler ftrace_analyzer_sanity
ftrace_analyzer_sanity[doc] = "Warns of the layer without its DISTRO_FEATURE"
ftrace_analyzer_sanity[eventmask] = "bb.event.SanityCheck"
python ftrace_analyzer_sanity() {
    d = e.data
    if d.getVar("SKIP_FTRACE_ANALYZER_SANITY") == "1":
        return
    if "ftrace-analyzer" not in (d.getVar("DISTRO_FEATURES") or "").split():
        bb.warn("meta-ftrace-analyzer is in the build, but ftrace-analyzer is not in DISTRO_FEATURES: neither kernel nor "
                'container runtimes are changed. DISTRO_FEATURES:append = " ftrace-analyzer" does it, '
                'SKIP_FTRACE_ANALYZER_SANITY = "1" silences this.')
}
