/* SPDX-License-Identifier: Apache-2.0 OR MIT
 * A program that dies: `die HOW`, or `die DIRECTORY HOW…` for a child each, the next one when the test has made the file
 * DIRECTORY/HOW. getpgid of a process that is not there is the mark that is looked for in the last calls. */
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define THREADS 20
#define NOBODY 7770000L

static int told[2];
static volatile char *const nowhere = (volatile char *)0x1234560;
static volatile int kept;

static void mark(long number)
{
	syscall(SYS_getpgid, NOBODY + number);
}

/* Calls that are no tail calls: what comes after them is not nothing. */
__attribute__((noinline)) static void die_here(volatile char *where)
{
	mark(11);
	*where = 1;
	kept++;
}

__attribute__((noinline)) static void middle(volatile char *where)
{
	die_here(where);
	kept++;
}

__attribute__((noinline)) static void outer(volatile char *where)
{
	middle(where);
	kept++;
}

__attribute__((noinline)) static int deeper(volatile char *above)
{
	volatile char here[512];

	here[0] = above ? above[0] : 1;
	return deeper(here) + here[0] + kept;
}

static void handler(int sig)
{
	kept += sig;
	outer(nowhere);
	kept++;
}

static void *worker(void *number)
{
	char name[16], go;

	snprintf(name, sizeof name, "worker-%ld", (long)number);
	prctl(PR_SET_NAME, name);
	if ((long)number == 13) {
		for (int have = 1; have < THREADS; have++)
			if (read(told[0], &go, 1) != 1)
				_exit(65);
		outer(nowhere);
	}
	mark(100 + (long)number);
	if (write(told[1], "x", 1) != 1)
		_exit(66);
	for (;;)
		pause();
	return NULL;
}

static void threads(void)
{
	pthread_attr_t small;
	pthread_t thread;

	if (pipe(told))
		_exit(67);
	pthread_attr_init(&small);
	pthread_attr_setstacksize(&small, 64 << 10);
	for (long number = 1; number <= THREADS; number++)
		if (pthread_create(&thread, &small, worker, (void *)number))
			_exit(68);
	for (;;)
		pause();
}

static void die(const char *how)
{
	struct rlimit limit = { 256 << 10, RLIM_INFINITY };

	mark(10);
	if (!strcmp(how, "abort")) {
		abort();
	} else if (!strcmp(how, "bus")) {
		/* Of two pages the file has none. */
		int file = syscall(SYS_memfd_create, "short", 0);

		outer((volatile char *)mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0) + 16);
	} else if (!strcmp(how, "overflow")) {
		setrlimit(RLIMIT_STACK, &limit);
		kept = deeper(NULL);
	} else if (!strcmp(how, "threads")) {
		threads();
	} else if (!strcmp(how, "handler")) {
		signal(SIGUSR1, handler);
		raise(SIGUSR1);
		kept++;
	} else if (!strcmp(how, "segv32")) {
		execl("/bin/die32", "die32", "segv", NULL);
		_exit(69);
	} else {
		outer(nowhere);
	}
}

/* `die measure FILE PROGRAM WORD…` writes how much memory the program had at the most, in KiB. */
static int measure(char **words)
{
	struct rusage usage;
	FILE *file;
	int status;
	pid_t child = fork();

	if (!child) {
		execv(words[1], words + 1);
		_exit(72);
	}
	if (wait4(child, &status, 0, &usage) != child)
		return 73;
	file = fopen(words[0], "a");
	if (!file)
		return 73;
	fprintf(file, "%ld\n", usage.ru_maxrss);
	return fclose(file) || !WIFEXITED(status) ? 74 : WEXITSTATUS(status);
}

int main(int argc, char **argv)
{
	char path[256];

	if (argc < 2)
		return 64;
	if (argc > 3 && !strcmp(argv[1], "measure"))
		return measure(argv + 2);
	if (argc == 2)
		die(argv[1]);
	for (int nth = 2; nth < argc; nth++) {
		int status;
		pid_t child = fork();

		if (!child) {
			prctl(PR_SET_NAME, argv[nth]);
			die(argv[nth]);
			_exit(70);
		}
		if (waitpid(child, &status, 0) != child || !WIFSIGNALED(status))
			return 71;
		snprintf(path, sizeof path, "%s/%s", argv[1], argv[nth]);
		while (access(path, F_OK))
			usleep(20000);
	}
	return 0;
}
