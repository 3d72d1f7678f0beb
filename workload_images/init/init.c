/*
 * bulkhead-init: the first process of a step's container. It starts one workload, holds its limits, and lets nothing
 * that the workload started outlive it.
 *
 *     bulkhead-init [--status PATH] [--pids N] [--open-files N] [--cpu-time SECONDS] [--memory BYTES] [--interval MS]
 *                   -- argv...
 *     bulkhead-init [--status PATH] --stdin
 *
 * With --stdin it waits to be told the rest: on its stdin comes a length in bytes and a newline, then as many bytes, each
 * word of the rest with a zero byte behind it. There "--env NAME=VALUE" sets a variable. From then on its stdin is its
 * lifeline: when that ends, everything is killed; the workload's own stdin is empty.
 *
 * To PATH, a file that is there already, it writes JSON lines, each with one write:
 *
 *     {"started": true}    the workload was executed
 *     {"error": text}      it could not be; this is then the only line
 *     {"exit": n, ...}     or {"signal": n, ...}, the last line: how the workload's own process ended, with
 *                          "left" (processes that still ran then, and were killed), "memory" (bytes), "cpu" (seconds),
 *                          "pids" (processes and threads), "open_files" (0 unless limited), and "broken" (pids,
 *                          open_files, cpu, memory) if a limit was the reason
 *
 * INT, TERM, HUP, USR1, USR2 and QUIT go on to all processes. It ends with the workload's exit code, 128 and the signal
 * that ended it, 137 if a limit was broken, 127 or 126 if nothing could be executed, 125 if it could not do its own
 * work. A limit of 0, or none, is not held. It takes no memory that grows with what the workload does.
 */
#define _GNU_SOURCE
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { NOT_EXECUTABLE = 126, NOT_FOUND = 127, OWN_FAILURE = 125, KILLED = 137 };
enum { LONGEST_ORDER = 64 << 20 };
enum { HIGHEST_PID = 1 << 22, MOST_ROUNDS = 16, REAPED_AT_ONCE = 512, MEASURING_SHARE = 10 };
static const double KILL_ROUND = 0.02, KILL_PATIENCE = 10;
static const int PASSED_ON[] = {SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGUSR2, SIGQUIT};

/* What a limit holds, or a measurement found. */
struct amounts {
    long long processes, pids, open_files, memory;
    double cpu;
};

/* A process as /proc tells of it. Its cpu seconds are with those of the children it has waited for. */
struct process {
    pid_t pid, parent;
    char state;
    long threads;
    long long memory;
    double cpu;
};
typedef void visitor(const struct process *);

static struct amounts limits, now, peaks;
static double interval = 0.05;
static const char *status_path, *broken;
static char **argv_of_workload;
static int status_file = -1, signal_to_send;
static DIR *processes;
static bool first;   /* is the first process of its pid namespace: all others there are the workload's */
static bool blinded; /* cannot open what it has to read */
static pid_t self, workload;
static int wait_status;
static bool ended, alone; /* the workload's own process has; no process is left */
static long long left;
static sigset_t awaited;
static int signals = -1;
static struct pollfd lifeline = {.fd = -1, .events = POLLIN};
static bool orphaned; /* the lifeline has ended */

/* Files of its control group, -1 where there is none, and what they said at the start. */
static int cpu_file = -1, peak_file = -1, memory_events = -1, pids_events = -1;
static double cpu_at_start, own_cpu_at_start, children_cpu_at_start;
static long long peak_at_start, kills_at_start, refusals_at_start;
static const char *cpu_key;

static double seconds(clockid_t clock) {
    struct timespec time;
    clock_gettime(clock, &time);
    return time.tv_sec + time.tv_nsec / 1e9;
}

static double cpu_used(int who) {
    struct rusage usage;
    getrusage(who, &usage);
    return usage.ru_utime.tv_sec + usage.ru_stime.tv_sec + (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

/* Say a line on the status file, if there is one; false if that failed. */
__attribute__((format(printf, 1, 2))) static bool tell(const char *format, ...) {
    char line[8192];
    va_list values;
    va_start(values, format);
    int length = vsnprintf(line, sizeof line, format, values);
    va_end(values);
    return status_file < 0 || write(status_file, line, length) == length;
}

/* Say in JSON why nothing was executed, and end. The engine gives arguments as UTF-8, and so they are passed on. */
static _Noreturn void refuse(int code, const char *subject, const char *reason) {
    char text[6000];
    size_t used = 0;
    const char *at = subject;
    for (; *at && used < sizeof text - 8; at++)
        used += sprintf(text + used, (unsigned char)*at < 0x20 || strchr("\"\\", *at) ? "\\u%04x" : "%c", *at);
    for (; used && (*at & 0xc0) == 0x80; at--)
        used--; /* No character is cut in two. */
    text[used] = 0;
    tell("{\"error\": \"%s: %s\"}\n", text, reason);
    _exit(code);
}

/* Read a file from its start; an empty text if that fails. */
static const char *read_again(int file, char *text, size_t size) {
    ssize_t length = file < 0 ? -1 : pread(file, text, size - 1, 0);
    text[length > 0 ? length : 0] = 0;
    return text;
}

/* Read the number after a word at the start of a line, or at the start of the file if there is no word. */
static long long number_in(int file, const char *word) {
    char text[4096];
    size_t length = word ? strlen(word) : 0;
    for (const char *line = read_again(file, text, sizeof text); line && *line; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (!word || (strncmp(line, word, length) == 0 && line[length] == ' '))
            return atoll(line + length);
    }
    return 0;
}

static int open_group_file(const char *name) {
    char path[128];
    snprintf(path, sizeof path, "/sys/fs/cgroup/%s", name);
    return open(path, O_RDONLY | O_CLOEXEC);
}

/* Open what the container's own control group counts, in version 2 or 1. */
static void open_group(void) {
    if (!first)
        return; /* It counts others too. */
    int type = open_group_file("cgroup.type");
    bool second = type >= 0; /* The root of version 2, which counts the whole machine, has no type. */
    close(type);
    cpu_file = open_group_file(second ? "cpu.stat" : "cpuacct/cpuacct.usage");
    cpu_key = second ? "usage_usec" : NULL;
    peak_file = open_group_file(second ? "memory.peak" : "memory/memory.max_usage_in_bytes");
    memory_events = open_group_file(second ? "memory.events" : "memory/memory.oom_control");
    pids_events = open_group_file(second ? "pids.events" : "pids/pids.events");
}

static double group_cpu(void) {
    return number_in(cpu_file, cpu_key) / (cpu_key ? 1e6 : 1e9);
}

/* Take what was used before the workload was there, by this process as well. */
static void begin_accounts(void) {
    open_group();
    peak_at_start = number_in(peak_file, NULL);
    kills_at_start = number_in(memory_events, "oom_kill");
    refusals_at_start = number_in(pids_events, "max");
    cpu_at_start = group_cpu();
    own_cpu_at_start = cpu_used(RUSAGE_SELF);
    children_cpu_at_start = cpu_used(RUSAGE_CHILDREN);
}

/* Open a file or folder in /proc. */
static int open_process(const char *path) {
    int file = openat(dirfd(processes), path, O_RDONLY | O_CLOEXEC);
    /* Few are open here: a process of the same user has taken the right to open more from this one. */
    blinded |= file < 0 && errno == EMFILE;
    return file;
}

/* Read what a process is using; false if it is gone. */
static bool look(pid_t pid, struct process *found) {
    char path[32], text[1024];
    snprintf(path, sizeof path, "%d/stat", pid);
    int file = open_process(path);
    if (file < 0)
        return false;
    read_again(file, text, sizeof text);
    close(file);
    unsigned long long user, system, children_user, children_system;
    long pages;
    const char *fields = strrchr(text, ')'); /* A name may hold anything. */
    if (!fields || sscanf(fields + 1,
                          " %c %d %*s %*s %*s %*s %*s %*s %*s %*s %*s %llu %llu %llu %llu %*s %*s %ld %*s %*s %*s %ld",
                          &found->state, &found->parent, &user, &system, &children_user, &children_system,
                          &found->threads, &pages) != 8)
        return false;
    found->pid = pid;
    found->memory = (long long)pages * sysconf(_SC_PAGESIZE);
    found->cpu = (double)(user + system + children_user + children_system) / sysconf(_SC_CLK_TCK);
    return true;
}

/* Whether anything of a process still runs: its first thread may have ended before the others. */
static bool lives(const struct process *process) {
    return (process->state != 'Z' && process->state != 'X') || process->threads > 1;
}

/* Visit every process of the workload once: all others as the first process, else what descends from this one. */
static void visit_all(visitor *visit) {
    static unsigned char seen[HIGHEST_PID / 8];
    if (!processes)
        return;
    if (!first)
        memset(seen, 0, sizeof seen);
    bool again = true;
    /* A child may be listed before its parent, so until no round finds more. */
    for (int round = 0; again && round < MOST_ROUNDS; round++) {
        again = false;
        rewinddir(processes);
        for (struct dirent *entry; (entry = readdir(processes));) {
            struct process found;
            pid_t pid = isdigit((unsigned char)*entry->d_name) ? atoi(entry->d_name) : 0;
            if (pid <= 0 || pid >= HIGHEST_PID || pid == self || (seen[pid / 8] >> pid % 8 & 1) || !look(pid, &found))
                continue;
            if (first) {
                visit(&found);
            } else if (found.parent == self || seen[found.parent / 8] >> found.parent % 8 & 1) {
                seen[pid / 8] |= 1 << pid % 8;
                again = true;
                visit(&found);
            }
        }
    }
}

static DIR *open_folder(const char *path) {
    int file = open_process(path);
    DIR *folder = file < 0 ? NULL : fdopendir(file);
    if (!folder)
        close(file);
    return folder;
}

/* Count the descriptors in a folder of /proc. */
static long long entries(const char *path) {
    struct stat found;
    if (fstatat(dirfd(processes), path, &found, 0) == 0 && found.st_size > 0)
        return found.st_size; /* Newer kernels say it at once, and of processes that do not let themselves be read. */
    long long count = 0;
    DIR *folder = open_folder(path);
    for (struct dirent *entry; folder && (entry = readdir(folder));)
        count += *entry->d_name != '.';
    if (folder)
        closedir(folder);
    return count;
}

/* Count the descriptors of a process; those of another thread if its first has ended. */
static long long open_files(const struct process *process) {
    char path[320];
    snprintf(path, sizeof path, "%d/fd", process->pid);
    if (process->state != 'Z')
        return entries(path);
    snprintf(path, sizeof path, "%d/task", process->pid);
    DIR *threads = open_folder(path);
    long long count = 0;
    for (struct dirent *entry; threads && count == 0 && (entry = readdir(threads));) {
        snprintf(path, sizeof path, "%d/task/%s/fd", process->pid, entry->d_name);
        count = *entry->d_name == '.' ? 0 : entries(path);
    }
    if (threads)
        closedir(threads);
    return count;
}

static void add(const struct process *process) {
    now.cpu += process->cpu;
    if (!lives(process))
        return;
    now.processes++;
    now.pids += process->threads;
    now.memory += process->memory;
    /* Who is over the limit already need not be counted to the end. */
    if (limits.open_files && now.open_files <= limits.open_files)
        now.open_files += open_files(process);
}

/* Add what no file backs of a process; a page that several share counts as its part of it. */
static void add_own_memory(const struct process *process) {
    char path[32];
    snprintf(path, sizeof path, "%d/smaps_rollup", process->pid);
    int file = open_process(path);
    if (file < 0) {
        now.memory += process->memory; /* It does not let itself be read. */
        return;
    }
    now.memory += (number_in(file, "Pss_Anon:") + number_in(file, "Pss_Shmem:")) * 1024;
    close(file);
}

static void send_to(const struct process *process) {
    kill(process->pid, signal_to_send);
}

/* Send a signal to every process of the workload. */
static void send_to_all(int number) {
    signal_to_send = number;
    if (first)
        kill(-1, number);
    else
        visit_all(send_to);
}

/* A process that is stopped hears of its end only when it goes on. */
static void pass_on(int number) {
    send_to_all(number);
    if (number == SIGINT || number == SIGTERM)
        send_to_all(SIGCONT);
}

static void keep_peak(long long *peak, long long value) {
    if (value > *peak)
        *peak = value;
}

static void find_broken(const char *name, bool is_broken) {
    if (!broken && is_broken)
        broken = name;
}

/* Take in the cpu seconds of the tree: what its group counted, or else what was seen, of ended processes and others. */
static void account_cpu(void) {
    double used = now.cpu + cpu_used(RUSAGE_CHILDREN) - children_cpu_at_start;
    if (cpu_file >= 0)
        used = group_cpu() - cpu_at_start - (cpu_used(RUSAGE_SELF) - own_cpu_at_start);
    if (used > peaks.cpu)
        peaks.cpu = used;
    find_broken("cpu", limits.cpu > 0 && peaks.cpu > limits.cpu);
}

/* Take in what the kernel enforced: it killed for memory, or refused a fork. */
static void account_group(void) {
    if (limits.memory && number_in(memory_events, "oom_kill") > kills_at_start) {
        find_broken("memory", true);
        keep_peak(&peaks.memory, limits.memory);
    }
    if (limits.pids && number_in(pids_events, "max") > refusals_at_start) {
        find_broken("pids", true);
        keep_peak(&peaks.pids, limits.pids);
    }
}

/* Measure all processes now, and find out which limit they broke. */
static void measure(void) {
    now = (struct amounts){0};
    visit_all(add);
    if (limits.memory && memory_events < 0 && now.memory > limits.memory) {
        now.memory = 0; /* Shared pages were counted more than once. */
        visit_all(add_own_memory);
    }
    keep_peak(&peaks.pids, now.pids);
    keep_peak(&peaks.open_files, now.open_files);
    keep_peak(&peaks.memory, now.memory);
    account_group();
    account_cpu();
    find_broken("memory", limits.memory && memory_events < 0 && peaks.memory > limits.memory);
    find_broken("open_files", limits.open_files && (peaks.open_files > limits.open_files || blinded));
    find_broken("pids", limits.pids && (peaks.pids > limits.pids || blinded));
}

/* Collect processes that have ended, a number of them; false if there is none to collect, for now. */
static bool reap(void) {
    for (int i = 0; i < REAPED_AT_ONCE; i++) {
        int status;
        pid_t pid = waitpid(-1, &status, WNOHANG);
        if (pid <= 0) {
            alone = pid < 0;
            return false;
        }
        if (pid == workload) {
            wait_status = status;
            ended = true;
        }
    }
    return true;
}

/* Note whether the lifeline has ended; what else is said there is nobody's business. */
static void look_at_lifeline(void) {
    char nothing[256];
    ssize_t length = read(lifeline.fd, nothing, sizeof nothing);
    if (length == 0 || (length < 0 && errno != EINTR && errno != EAGAIN)) {
        orphaned = true;
        lifeline.fd = -1;
    }
}

/* Wait for a signal, or the end of the lifeline, for so many seconds; 0 if no signal came. */
static int wait_for_signal(double patience) {
    if (patience < 0)
        patience = 0;
    struct timespec time = {(time_t)patience, (long)((patience - (time_t)patience) * 1e9)};
    struct pollfd both[] = {{.fd = signals, .events = POLLIN}, lifeline};
    if (ppoll(both, 2, &time, NULL) <= 0)
        return 0;
    if (both[1].revents)
        look_at_lifeline();
    struct signalfd_siginfo told;
    return both[0].revents && read(signals, &told, sizeof told) == sizeof told ? (int)told.ssi_signo : 0;
}

/* Watch until the workload's own process has ended, or a limit is broken. */
static void watch(void) {
    double next = 0;
    for (;;) {
        bool more = reap();
        if (orphaned)
            return;
        if (ended) {
            measure();
            left = now.processes;
            return;
        }
        if (seconds(CLOCK_MONOTONIC) >= next) {
            double used = seconds(CLOCK_THREAD_CPUTIME_ID);
            measure();
            if (broken)
                return;
            /* Measuring takes a part of the time only, however many processes there are. */
            double pause = (seconds(CLOCK_THREAD_CPUTIME_ID) - used) * MEASURING_SHARE;
            next = seconds(CLOCK_MONOTONIC) + (pause > interval ? pause : interval);
        }
        int number = wait_for_signal(more ? 0 : next - seconds(CLOCK_MONOTONIC));
        if (number && number != SIGCHLD)
            pass_on(number);
    }
}

/* Kill until nothing is left; what a killed process leaves comes to this one. */
static void kill_everything(void) {
    double deadline = seconds(CLOCK_MONOTONIC) + KILL_PATIENCE;
    do {
        send_to_all(SIGKILL);
        while (reap())
            ;
        if (!alone)
            wait_for_signal(KILL_ROUND);
    } while (!alone && seconds(CLOCK_MONOTONIC) < deadline);
}

/* Take in what is known when all have ended. */
static void settle(void) {
    now.cpu = 0;
    account_cpu();
    account_group();
    struct rusage usage;
    getrusage(RUSAGE_CHILDREN, &usage);
    long long peak = number_in(peak_file, NULL);
    /* What the engine used before may be the group's peak. */
    if (peak > peak_at_start)
        peaks.memory = peak;
    else
        keep_peak(&peaks.memory, usage.ru_maxrss * 1024LL);
}

/* Say how it ended, and return the exit code for it. */
static int conclude(void) {
    bool killed = !ended || WIFSIGNALED(wait_status);
    int code = !ended ? SIGKILL : killed ? WTERMSIG(wait_status) : WEXITSTATUS(wait_status);
    bool told = tell(
        "{\"%s\": %d, \"left\": %lld, \"memory\": %lld, \"cpu\": %.6f, \"pids\": %lld, \"open_files\": %lld%s%s%s}\n",
        killed ? "signal" : "exit", code, left, peaks.memory, peaks.cpu, peaks.pids, peaks.open_files,
        broken ? ", \"broken\": \"" : "", broken ? broken : "", broken ? "\"" : "");
    if (!told)
        return OWN_FAILURE;
    return broken ? KILLED : killed ? 128 + code : code;
}

/* Set what a process keeps for itself and all that it starts. */
static void fence_in(void) {
    setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0 && limits.open_files && (rlim_t)limits.open_files < files.rlim_max) {
        files.rlim_cur = files.rlim_max = limits.open_files;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    if (!first)
        prctl(PR_SET_PDEATHSIG, SIGKILL);
    /* Only who may be looked into may write this; executing makes it so anyway. */
    prctl(PR_SET_DUMPABLE, 1);
    int file = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
    if (file >= 0 && write(file, "800", 3) < 0)
        errno = 0; /* It is then killed as late as others are. */
    close(file);
}

/* Let no signal be ignored from before, and block all: they are waited for. */
static void take_signals(void) {
    for (int number = 1; number < NSIG; number++)
        signal(number, SIG_DFL);
    sigemptyset(&awaited);
    sigaddset(&awaited, SIGCHLD);
    for (size_t i = 0; i < sizeof PASSED_ON / sizeof *PASSED_ON; i++)
        sigaddset(&awaited, PASSED_ON[i]);
    sigset_t all;
    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, NULL);
    signals = signalfd(-1, &awaited, SFD_CLOEXEC | SFD_NONBLOCK);
}

static _Noreturn void become_workload(int failure) {
    setsid();
    fence_in();
    if (lifeline.fd >= 0)
        dup2(open("/dev/null", O_RDONLY | O_CLOEXEC), STDIN_FILENO);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    execvp(*argv_of_workload, argv_of_workload);
    int reason = errno;
    if (write(failure, &reason, sizeof reason) < 0)
        _exit(OWN_FAILURE);
    _exit(NOT_FOUND);
}

/* Start the workload; ends if it cannot be executed. */
static void start(void) {
    int ends[2], reason = 0;
    if (pipe2(ends, O_CLOEXEC) < 0)
        refuse(NOT_EXECUTABLE, *argv_of_workload, strerror(errno));
    workload = fork();
    if (workload == 0)
        become_workload(ends[1]);
    if (workload < 0)
        refuse(NOT_EXECUTABLE, *argv_of_workload, strerror(errno));
    close(ends[1]);
    if (read(ends[0], &reason, sizeof reason) == sizeof reason)
        refuse(reason == ENOENT || reason == ENOTDIR ? NOT_FOUND : NOT_EXECUTABLE, *argv_of_workload, strerror(reason));
    close(ends[0]);
    tell("{\"started\": true}\n");
    peaks.pids = 1; /* It may end before the first measurement. */
}

/* Read an amount; false if it is none. */
static bool amount(const char *text, double *value) {
    char *end;
    *value = strtod(text, &end);
    return isdigit((unsigned char)*text) && *end == 0 && *value < 1e18;
}

/* Take in an option; false if there is no such option, or it cannot have this value. */
static bool take_option(const char *name, const char *value) {
    double number;
    if (strcmp(name, "--status") == 0) {
        status_path = value;
        return true;
    }
    if (strcmp(name, "--env") == 0)
        return putenv((char *)value) == 0;
    if (!amount(value, &number))
        return false;
    if (strcmp(name, "--pids") == 0)
        limits.pids = number;
    else if (strcmp(name, "--open-files") == 0)
        limits.open_files = number;
    else if (strcmp(name, "--cpu-time") == 0)
        limits.cpu = number;
    else if (strcmp(name, "--memory") == 0)
        limits.memory = number;
    else if (strcmp(name, "--interval") == 0)
        interval = number < 1 ? 0.001 : number / 1000;
    else
        return false;
    return true;
}

/* Open the status file, and leave no name for it. */
static void open_status(void) {
    if (!status_path)
        return;
    status_file = open(status_path, O_WRONLY | O_APPEND | O_CLOEXEC);
    if (status_file < 0)
        _exit(OWN_FAILURE);
    unlink(status_path);
}

/* Take in options up to the command; returns the first that cannot be, or NULL. */
static const char *take_options(int count, char **words) {
    const char *wrong = NULL;
    int i = 0;
    for (; i < count && strcmp(words[i], "--") != 0; i += 2)
        if (i + 1 >= count || !take_option(words[i], words[i + 1]))
            wrong = wrong ? wrong : words[i];
    argv_of_workload = i + 1 < count ? words + i + 1 : NULL;
    return wrong;
}

/* Read so many bytes of the order; ends if there are none, since then nobody wants anything to run. */
static void read_order(char *data, size_t size) {
    for (size_t done = 0; done < size;) {
        ssize_t length = read(STDIN_FILENO, data + done, size - done);
        if (length == 0 || (length < 0 && errno != EINTR))
            _exit(OWN_FAILURE);
        done += length > 0 ? length : 0;
    }
}

/* Wait for the order; returns the first of its options that cannot be, or NULL. */
static const char *take_order(void) {
    size_t size = 0;
    for (char digit = '0'; digit != '\n'; read_order(&digit, 1))
        if (!isdigit((unsigned char)digit) || (size = size * 10 + (digit - '0')) > LONGEST_ORDER)
            return "--stdin";
    char *data = malloc(size + 1);
    if (!data)
        return "--stdin";
    read_order(data, size);
    data[size] = 0;
    int count = 0;
    for (size_t i = 0; i < size; i++)
        count += data[i] == 0;
    char **words = calloc(count + 1, sizeof *words), *word = data;
    for (int i = 0; words && i < count; word += strlen(word) + 1)
        words[i++] = word;
    lifeline.fd = STDIN_FILENO;
    return words ? take_options(count, words) : "--stdin";
}

int main(int argc, char **argv) {
    bool waits = argc > 1 && strcmp(argv[argc - 1], "--stdin") == 0;
    const char *wrong = take_options(argc - 1 - waits, argv + 1);
    open_status();
    prctl(PR_SET_DUMPABLE, 0);
    take_signals();
    if (waits && !wrong)
        wrong = take_order();
    if (wrong)
        refuse(OWN_FAILURE, wrong, "no such option, or not with this value");
    if (!argv_of_workload)
        refuse(OWN_FAILURE, "bulkhead-init", "no command after --");
    self = getpid();
    first = self == 1;
    if (!first)
        prctl(PR_SET_CHILD_SUBREAPER, 1);
    processes = opendir("/proc");
    begin_accounts();
    start();
    watch();
    kill_everything();
    settle();
    _exit(conclude());
}
