/* SPDX-License-Identifier: Apache-2.0 OR MIT
 * What the live tests run where a shell cannot be exact: numbers of calls, threads, signals. getpgid of a process that
 * is not there serves as a mark: its argument is seen in the recording, and it changes nothing. */
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static long count;

static void *mark_once(void *number)
{
	syscall(SYS_getpgid, (long)number);
	return NULL;
}

static void *mark_always(void *number)
{
	for (;;) {
		syscall(SYS_getpgid, (long)number);
		usleep(5000);
	}
}

static void handler(int sig)
{
	syscall(SYS_getpgid, 100000L + sig);
}

static void start(pthread_t *threads, void *(*what)(void *), long base)
{
	for (long i = 0; i < count; i++)
		pthread_create(&threads[i], NULL, what, (void *)(base + i));
}

int main(int argc, char **argv)
{
	pthread_t threads[64];
	const char *mode = argc > 1 ? argv[1] : "";

	count = argc > 2 ? atol(argv[2]) : 0;
	if (!strcmp(mode, "loop")) { /* count calls, then one mark */
		for (long i = 0; i < count; i++)
			syscall(SYS_getppid);
		syscall(SYS_getpgid, 777777L);
	} else if (!strcmp(mode, "threads")) { /* count threads, a mark each */
		start(threads, mark_once, 200000);
		for (long i = 0; i < count; i++)
			pthread_join(threads[i], NULL);
	} else if (!strcmp(mode, "live")) { /* two processes of count threads each, until killed */
		long base = fork() ? 300000 : 400000;
		start(threads, mark_always, base + 1);
		mark_always((void *)base);
	} else if (!strcmp(mode, "handler")) {
		signal(SIGTERM, handler);
		kill(getpid(), SIGTERM);
		return 5;
	} else if (!strcmp(mode, "segv")) {
		*(volatile int *)8 = 1;
	} else if (!strcmp(mode, "killed")) { /* a child that SIGKILL ends */
		pid_t child = fork();
		if (!child)
			for (;;)
				pause();
		usleep(200000);
		kill(child, SIGKILL);
		waitpid(child, NULL, 0);
		return 7;
	} else if (!strcmp(mode, "chain")) { /* marks count, count + 1 in a child, count + 2; then becomes the rest of the line */
		syscall(SYS_getpgid, count);
		if (!fork()) {
			syscall(SYS_getpgid, count + 1);
			_exit(0);
		}
		wait(NULL);
		syscall(SYS_getpgid, count + 2);
		if (argc > 3)
			execv(argv[3], argv + 3);
	} else if (!strcmp(mode, "private")) { /* ARM's own calls between two marks; set_tls is called before main */
		char code[64];

		syscall(SYS_getpgid, count);
		__builtin___clear_cache(code, code + sizeof(code));
		syscall(SYS_getpgid, count + 1);
	} else {
		return 64;
	}
	return 0;
}
