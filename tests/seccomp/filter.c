// SPDX-License-Identifier: Apache-2.0 OR MIT
// Rules to libseccomp, filters out of the kernel. Links with -lseccomp.
//
//   filter make      reads `default ACTION ERRNO`, `arch NAME` (the first alone instead of this machine's) and
//                    `rule CALL ACTION ERRNO [INDEX OP VALUE SECOND]...`; writes the filter; exit 3: libseccomp refuses
//   filter names     reads names, prints those that libseccomp does not know
//   filter version
//   filter dump PID  the filter that was loaded last into a task
#define _GNU_SOURCE
#include <errno.h>
#include <linux/filter.h>
#include <seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef PTRACE_SECCOMP_GET_FILTER
#define PTRACE_SECCOMP_GET_FILTER 0x420c
#endif

static uint32_t action(const char *name, unsigned code)
{
	if (!strcmp(name, "SCMP_ACT_ALLOW")) return SCMP_ACT_ALLOW;
	if (!strcmp(name, "SCMP_ACT_LOG")) return SCMP_ACT_LOG;
	if (!strcmp(name, "SCMP_ACT_NOTIFY")) return SCMP_ACT_NOTIFY;
	if (!strcmp(name, "SCMP_ACT_TRACE")) return SCMP_ACT_TRACE(code);
	if (!strcmp(name, "SCMP_ACT_ERRNO")) return SCMP_ACT_ERRNO(code);
	if (!strcmp(name, "SCMP_ACT_TRAP")) return SCMP_ACT_TRAP;
	if (!strcmp(name, "SCMP_ACT_KILL")) return SCMP_ACT_KILL;
	if (!strcmp(name, "SCMP_ACT_KILL_THREAD")) return SCMP_ACT_KILL_THREAD;
	if (!strcmp(name, "SCMP_ACT_KILL_PROCESS")) return SCMP_ACT_KILL_PROCESS;
	fprintf(stderr, "no action %s\n", name);
	exit(2);
}

static enum scmp_compare op(const char *name)
{
	static const char *names[] = { "", "NE", "LT", "LE", "EQ", "GE", "GT", "MASKED_EQ" };
	for (int i = 1; i < 8; i++)
		if (!strcmp(name + strlen("SCMP_CMP_"), names[i])) return i;
	fprintf(stderr, "no comparison %s\n", name);
	exit(2);
}

static void check(int rc, const char *what)
{
	if (rc >= 0) return;
	fprintf(stderr, "%s: %s\n", what, strerror(-rc));
	exit(3);
}

static int make(void)
{
	char line[4096];
	scmp_filter_ctx ctx = NULL;
	uint32_t def = 0;
	int archs = 0;
	while (fgets(line, sizeof line, stdin)) {
		char *word = strtok(line, " \n"), *name = strtok(NULL, " \n");
		if (!strcmp(word, "default")) {
			def = action(name, atoi(strtok(NULL, " \n")));
			ctx = seccomp_init(def);
			continue;
		}
		if (!strcmp(word, "arch")) {
			uint32_t arch = seccomp_arch_resolve_name(name);
			int rc = seccomp_arch_add(ctx, arch);
			if (rc != -EEXIST) check(rc, name);
			if (!archs++ && arch != seccomp_arch_native()) check(seccomp_arch_remove(ctx, SCMP_ARCH_NATIVE), "native");
			continue;
		}
		char *act = strtok(NULL, " \n");
		uint32_t what = action(act, atoi(strtok(NULL, " \n")));
		int nr = seccomp_syscall_resolve_name(name);
		struct scmp_arg_cmp args[64];
		int count[6] = { 0 }, n = 0, apart = 0;
		for (char *index; n < 64 && (index = strtok(NULL, " \n")); n++) {
			args[n].arg = atoi(index);
			args[n].op = op(strtok(NULL, " \n"));
			args[n].datum_a = strtoull(strtok(NULL, " \n"), NULL, 10);
			args[n].datum_b = strtoull(strtok(NULL, " \n"), NULL, 10);
			if (args[n].arg >= 6) return 3;
			apart |= count[args[n].arg]++ > 0;
		}
		if (what == def || nr == __NR_SCMP_ERROR) continue;
		if (!apart) check(seccomp_rule_add_array(ctx, what, nr, n, args), name);
		for (int i = 0; apart && i < n; i++) check(seccomp_rule_add_array(ctx, what, nr, 1, args + i), name);
	}
	check(seccomp_export_bpf(ctx, 1), "export");
	return 0;
}

static int dump(int pid)
{
	if (ptrace(PTRACE_ATTACH, pid, 0, 0) || waitpid(pid, NULL, __WALL) != pid) {
		perror("attach");
		return 1;
	}
	int n = ptrace(PTRACE_SECCOMP_GET_FILTER, pid, 0, NULL);
	if (n <= 0) {
		perror("PTRACE_SECCOMP_GET_FILTER");
		return 4;
	}
	struct sock_filter *filter = calloc(n, sizeof *filter);
	ptrace(PTRACE_SECCOMP_GET_FILTER, pid, 0, filter);
	fwrite(filter, sizeof *filter, n, stdout);
	return ptrace(PTRACE_DETACH, pid, 0, 0) != 0;
}

int main(int argc, char **argv)
{
	const char *mode = argc > 1 ? argv[1] : "";
	if (!strcmp(mode, "make")) return make();
	if (!strcmp(mode, "dump")) return dump(atoi(argv[2]));
	if (!strcmp(mode, "version")) {
		const struct scmp_version *v = seccomp_version();
		return printf("%u.%u.%u\n", v->major, v->minor, v->micro) < 0;
	}
	char name[256];
	while (scanf("%255s", name) == 1)
		if (seccomp_syscall_resolve_name(name) == __NR_SCMP_ERROR) puts(name);
	return 0;
}
