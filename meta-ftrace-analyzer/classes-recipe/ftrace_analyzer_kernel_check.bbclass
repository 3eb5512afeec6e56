# SPDX-License-Identifier: MIT
# Reads .config after do_configure and warns of what ftrace-analyzer will not be able to do on this kernel. It changes
# nothing: a kernel that is configured by other means inherits this class alone,
#
#   KERNEL_CLASSES:append = " ftrace_analyzer_kernel_check"
#
# On the target "ftrace-analyzer doctor" tells the same of the kernel that runs.

# Options, as pairs of a name and what is lacking without it.
FTRACE_ANALYZER_NEEDED = "\
    TRACING|recording \
    EVENT_TRACING|recording \
    TRACEPOINTS|recording \
    HAVE_SYSCALL_TRACEPOINTS|recording \
    PROC_FS|recording \
    MULTIUSER|recording \
    UNIX|recording \
"
FTRACE_ANALYZER_WANTED = "\
    FTRACE_SYSCALLS|strings,from_6.19_on \
    KPROBE_EVENTS|strings,buffers \
    HIST_TRIGGERS|counting_in_the_kernel \
    COREDUMP|core_dumps \
    ELF_CORE|core_dumps \
    SECCOMP_FILTER|seccomp \
    CGROUPS|containers \
    NAMESPACES|containers \
"

def ftrace_analyzer_lacks(config, pairs):
    """What of these pairs is not built into a kernel with this .config, each with the reason."""
    built_in = {line[len("CONFIG_"):-2] for line in config.splitlines() if line.startswith("CONFIG_") and line.endswith("=y")}
    lacks = (pair.split("|") for pair in pairs.split())
    return ["CONFIG_%s (%s)" % (name, why.replace("_", " ").replace(",", ", ")) for name, why in lacks if name not in built_in]

python do_ftrace_analyzer_check() {
    path = os.path.join(d.getVar("B"), ".config")
    if not os.path.exists(path):
        bb.warn("ftrace-analyzer: there is no %s to look at" % path)
        return
    with open(path, encoding="utf-8", errors="replace") as file:
        config = file.read()
    needed = ftrace_analyzer_lacks(config, d.getVar("FTRACE_ANALYZER_NEEDED"))
    wanted = ftrace_analyzer_lacks(config, d.getVar("FTRACE_ANALYZER_WANTED"))
    if needed:
        bb.warn("ftrace-analyzer can not record on this kernel, which is built without %s" % ", ".join(needed))
    if wanted:
        bb.warn("ftrace-analyzer does without some features on this kernel, which is built without %s" % ", ".join(wanted))
}
do_ftrace_analyzer_check[doc] = "Warns of what ftrace-analyzer lacks in the kernel's configuration"
addtask ftrace_analyzer_check after do_configure before do_compile
