/* SPDX-License-Identifier: Apache-2.0 OR MIT
 * dumped die MIB         fills so much memory with what no page has twice, prints CLOCK_MONOTONIC in ns and dies by SIGSEGV
 * dumped watch DIRECTORY prints CLOCK_MONOTONIC in ns when something is in it whose name begins with no dot
 * dumped memory FILE PROGRAM WORD...   runs it and adds to the file how much memory it had at the most, in KiB */
#define _GNU_SOURCE
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static long long now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static int die(size_t bytes)
{
	uint64_t *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uint64_t next = 88172645463325252ULL;

	if (memory == MAP_FAILED)
		return 1;
	for (size_t at = 0; at < bytes / sizeof *memory; at++) {
		next ^= next << 13;
		next ^= next >> 7;
		next ^= next << 17;
		/* Half of it, as memory goes: something to gain for who compresses. */
		memory[at] = at & 1 ? next : at;
	}
	printf("%lld\n", now());
	fflush(stdout);
	/* A fault, for the first process of a pid namespace does not die by what it sends itself. */
	*(volatile int *)8 = 0;
	return 2;
}

static int watch(const char *path)
{
	for (int tries = 0; tries < 40000; tries++) {
		DIR *dir = opendir(path);
		struct dirent *entry;

		while (dir && (entry = readdir(dir)))
			if (entry->d_name[0] != '.') {
				printf("%lld\n", now());
				return 0;
			}
		if (dir)
			closedir(dir);
		usleep(500);
	}
	return 1;
}

static int memory(char **words)
{
	struct rusage usage;
	int status;
	FILE *file;
	pid_t child = fork();

	if (!child) {
		execv(words[1], words + 1);
		_exit(127);
	}
	if (wait4(child, &status, 0, &usage) != child || !(file = fopen(words[0], "a")))
		return 1;
	fprintf(file, "%ld\n", usage.ru_maxrss);
	fclose(file);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

int main(int argc, char **argv)
{
	if (argc == 3 && !strcmp(argv[1], "die"))
		return die((size_t)atol(argv[2]) << 20);
	if (argc == 3 && !strcmp(argv[1], "watch"))
		return watch(argv[2]);
	if (argc > 3 && !strcmp(argv[1], "memory"))
		return memory(argv + 2);
	return 64;
}
