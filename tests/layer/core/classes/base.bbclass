# SPDX-License-Identifier: Apache-2.0 OR MIT
# PACKAGECONFIG as recipes use it, and tasks by name.
PACKAGECONFIG ??= ""
PACKAGECONFIG_CONFARGS ??= ""
python () {
    flags = {name: value.split(",") for name, value in (d.getVarFlags("PACKAGECONFIG") or {}).items() if name != "_defaultval"}
    wanted = (d.getVar("PACKAGECONFIG") or "").split()
    unknown = [name for name in wanted if flags and name not in flags]
    if unknown:
        bb.fatal("PACKAGECONFIG without an entry: %s" % unknown)
    d.setVar("PACKAGECONFIG_CONFARGS", " ".join(flags[name][0] for name in wanted if flags))
}
addtask configure
addtask compile after do_configure
addtask install after do_compile
addtask build after do_install
do_configure() {
    :
}
do_compile() {
    :
}
do_install() {
    :
}
do_build[noexec] = "1"
