/*
 * starter.py once more, for machines with a C compiler: `starter STATUS LAUNCH` stands in every sandbox, and a Python
 * interpreter takes more memory and processor time for that than many a workload. What is read and written is described
 * there; tests hold both to the same.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

enum { NOT_EXECUTED = 127, NOTHING_TO_DO = 1, LONGEST_REASON = 4000 };
static const int TO_DEFAULT[] = {SIGINT, SIGTERM, SIGHUP, SIGCHLD, SIGPIPE};
static const char KILL_ME_FIRST[] = "800";

/* Tell why nothing was executed, as Python says it, and end. */
static _Noreturn void refuse(int told, const char *subject) {
    dprintf(told, "[Errno %d] %s: '%.*s'", errno, strerror(errno), LONGEST_REASON / 2, subject);
    _exit(NOT_EXECUTED);
}

/* Read a pipe to its end; with a zero byte behind it, or NULL if there was nothing. */
static char *read_all(int file, size_t *size) {
    size_t room = 1 << 16;
    char *data = malloc(room);
    for (*size = 0; data != NULL;) {
        ssize_t found = read(file, data + *size, room - *size - 1);
        if (found < 0 && errno == EINTR) continue;
        if (found <= 0) break;
        *size += (size_t)found;
        if (room - *size == 1) data = realloc(data, room *= 2);
    }
    if (data == NULL || *size == 0) return NULL;
    data[*size] = '\0';
    return data;
}

/* Set what a process keeps for itself and all that it starts. */
static void fence_in(void) {
    setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
    int file = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
    if (file >= 0) {
        /* What is refused here is left as it is. */
        if (write(file, KILL_ME_FIRST, strlen(KILL_ME_FIRST)) < 0) errno = 0;
        close(file);
    }
}

static void allow_files(rlim_t count) {
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    if (limit.rlim_max != RLIM_INFINITY && count > limit.rlim_max) count = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &(struct rlimit){count, count});
}

/* Execute the fields of a launch: open files, folder, number of variables, variables, command. */
static _Noreturn void execute(char *data, size_t size, int told) {
    size_t count = 1;
    for (size_t at = 0; at < size; at++) count += data[at] == '\0';
    /* One more for the end of the variables, and one for the end of the command. */
    char **fields = calloc(count + 2, sizeof *fields), *field = data;
    if (fields == NULL) refuse(told, "a launch");
    size_t variables = 0;
    for (size_t i = 0, at = 0; i < count; i++, field += strlen(field) + 1) {
        if (i == 2) variables = strtoul(field, NULL, 10);
        if (i == 3 + variables) at++;
        fields[i + at] = field;
    }
    char **env = fields + 3, **argv = fields + 3 + variables + 1;
    if (count <= 3 + variables) _exit(NOTHING_TO_DO);
    if (*fields[0] != '\0') allow_files(strtoul(fields[0], NULL, 10));
    if (*fields[1] != '\0' && chdir(fields[1]) < 0) refuse(told, fields[1]);
    execve(argv[0], argv, env);
    refuse(told, argv[0]);
}

/* Wait for the launch in a process of its own. */
static _Noreturn void wait_for_launch(int launch, int told, pid_t parent) {
    setsid();
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    /* What the parent keeps from others, it would keep from this process as well. */
    prctl(PR_SET_DUMPABLE, 1);
    for (size_t i = 0; i < sizeof TO_DEFAULT / sizeof *TO_DEFAULT; i++) signal(TO_DEFAULT[i], SIG_DFL);
    fence_in();
    size_t size;
    char *data = read_all(launch, &size);
    close(launch);
    if (data == NULL || getppid() != parent) _exit(NOTHING_TO_DO);
    execute(data, size, told);
}

/* Write a line that says in JSON why nothing was executed. */
static void tell_error(int status, const char *reason) {
    char line[6 * LONGEST_REASON + 32], *end = stpcpy(line, "{\"error\": \"");
    for (; *reason != '\0'; reason++) {
        unsigned char byte = (unsigned char)*reason;
        if (byte < ' ' || byte == '"' || byte == '\\')
            end += sprintf(end, "\\u%04x", byte);
        else
            *end++ = (char)byte;
    }
    strcpy(end, "\"}\n");
    dprintf(status, "%s", line);
}

/* Whether there is no process here but this one and the namespace's first: the kernel looks at all at one moment. */
static bool alone(void) { return kill(-1, 0) < 0 && errno == ESRCH; }

int main(int argc, char **argv) {
    if (argc != 3) return NOT_EXECUTED;
    int status = atoi(argv[1]), launch = atoi(argv[2]), refusal[2];
    fcntl(status, F_SETFD, FD_CLOEXEC);
    /* From now on nobody without the right to trace looks into this process, or opens its pipe. */
    prctl(PR_SET_DUMPABLE, 0);
    pid_t self = getpid(), child = -1;
    if (pipe2(refusal, O_CLOEXEC) == 0) child = fork();
    if (child == 0) wait_for_launch(launch, refusal[1], self);
    close(launch);
    if (child < 0) {
        tell_error(status, strerror(errno));
        return NOT_EXECUTED;
    }
    close(refusal[1]);
    char reason[LONGEST_REASON];
    ssize_t said = read(refusal[0], reason, sizeof reason - 1);
    close(refusal[0]);
    if (said > 0) {
        reason[said] = '\0';
        tell_error(status, reason);
        return NOT_EXECUTED;
    }
    dprintf(status, "{\"pid\": %d, \"starter\": %d}\n", child, self);
    for (size_t i = 0; i < 3; i++) signal(TO_DEFAULT[i], SIG_IGN);
    int ending;
    struct rusage usage;
    while (wait4(child, &ending, 0, &usage) < 0 && errno == EINTR) {
    }
    bool killed = WIFSIGNALED(ending);
    double cpu = (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
                 (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
    dprintf(status, "{\"%s\": %d, \"cpu\": %.6f, \"memory\": %lld, \"alone\": %s}\n", killed ? "signal" : "exit",
            killed ? WTERMSIG(ending) : WEXITSTATUS(ending), cpu, usage.ru_maxrss * 1024LL, alone() ? "true" : "false");
    for (;;) pause();
}
