# SPDX-License-Identifier: MIT
# Gives a kernel what ftrace-analyzer needs, and warns where it did not get it. The layer's appends inherit it for
# linux-yocto; every other kernel gets it by
#
#   KERNEL_CLASSES:append = " ftrace_analyzer_kernel"
#
# in the machine's or distribution's configuration. Kernels with kernel-yocto merge the fragments themselves; for others
# they are merged into .config by the kernel's own script.

inherit ftrace_analyzer_kernel_check

# Which of recipes-kernel/linux/files; README.md has what each brings and costs.
FTRACE_ANALYZER_KERNEL ?= "required strings hist core seccomp"

FTRACE_ANALYZER_FRAGMENTS = "${@' '.join('ftrace-analyzer-%s.cfg' % name for name in d.getVar('FTRACE_ANALYZER_KERNEL').split())}"

# nooelint: oelint.vars.fileextrapaths - the fragments belong to the layer, whoever's kernel it is
FILESEXTRAPATHS:prepend := "${FTRACE_ANALYZER_LAYERDIR}/recipes-kernel/linux/files:"
SRC_URI:append = " ${@' '.join('file://%s file://%s' % (name, name.replace('.cfg', '.scc')) \
    for name in d.getVar('FTRACE_ANALYZER_FRAGMENTS').split())}"

# kernel-yocto does it by its own means, from the .scc files in SRC_URI. The kernel's script puts them behind what .config
# has, and the recipe's own command makes a whole configuration of that.
ftrace_analyzer_merge() {
    if ${@'true' if bb.data.inherits_class('kernel-yocto', d) else 'false'}; then
        return 0
    fi
    fragments=
    for fragment in ${FTRACE_ANALYZER_FRAGMENTS}; do
        fragments="$fragments ${@d.getVar('UNPACKDIR') or d.getVar('WORKDIR')}/$fragment"
    done
    "${S}/scripts/kconfig/merge_config.sh" -m -O "${B}" "${B}/.config" $fragments
    ${KERNEL_CONFIG_COMMAND}
}
ftrace_analyzer_merge[doc] = "Merges the fragments into .config where kernel-yocto does not"
do_configure[postfuncs] += "ftrace_analyzer_merge"
