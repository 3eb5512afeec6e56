# SPDX-License-Identifier: Apache-2.0 OR MIT
python () {
    lacks = set((d.getVar("REQUIRED_DISTRO_FEATURES") or "").split()) - set((d.getVar("DISTRO_FEATURES") or "").split())
    if lacks:
        raise bb.parse.SkipRecipe("missing required distro features: %s" % " ".join(sorted(lacks)))
}
