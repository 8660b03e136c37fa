/* DPDK's environment (EAL): begun once in a process, with what it logs kept, its devices, and the threads of workers. */

#define _GNU_SOURCE
#include "fajita_dpdk.h"
#include "shared.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include <rte_dev.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_lcore.h>
#include <rte_log.h>
#include <rte_mbuf_dyn.h>
#include <rte_version.h>

#if RTE_VERSION < RTE_VERSION_NUM(22, 11, 0, 0)
#error "fajita needs DPDK 22.11 or newer"
#endif

int fajita_note_offset = -1;

/* The newest of what DPDK has said. */
static struct {
    pthread_mutex_t lock;
    char text[1 << 14];
    size_t length;
} said = {.lock = PTHREAD_MUTEX_INITIALIZER};

static ssize_t write_log(void *cookie, const char *text, size_t size)
{
    (void)cookie;
    size_t kept = RTE_MIN(size, sizeof said.text);
    pthread_mutex_lock(&said.lock);
    if (said.length + kept > sizeof said.text) {
        size_t away = said.length + kept - sizeof said.text;
        memmove(said.text, said.text + away, said.length - away);
        said.length -= away;
    }
    memcpy(said.text + said.length, text + size - kept, kept);
    said.length += kept;
    pthread_mutex_unlock(&said.lock);
    return size;
}

size_t fajita_log(char *into, size_t room)
{
    pthread_mutex_lock(&said.lock);
    size_t given = RTE_MIN(room, said.length);
    memcpy(into, said.text + said.length - given, given);
    said.length = 0;
    pthread_mutex_unlock(&said.lock);
    return given;
}

const char *fajita_version(void)
{
    return rte_version();
}

int fajita_begin(int argc, char **argv)
{
    FILE *log = fopencookie(NULL, "w", (cookie_io_functions_t){.write = write_log});
    if (log == NULL)
        return -errno;
    setlinebuf(log);
    rte_openlog_stream(log);
    int status = rte_eal_init(argc, argv) < 0 ? -(rte_errno != 0 ? rte_errno : EINVAL) : 0; /* not each failure sets it */
    /* A usage text belongs where standard output leads now. */
    fflush(stdout);
    if (status == 0) {
        struct rte_mbuf_dynfield field = {.name = "fajita_note", .size = sizeof(struct fajita_note), .align = 8};
        fajita_note_offset = rte_mbuf_dynfield_register(&field);
    }
    return status;
}

void fajita_end(void)
{
    rte_eal_cleanup();
}

int fajita_begin_thread(void)
{
    return rte_thread_register() < 0 ? -rte_errno : 0;
}

void fajita_end_thread(void)
{
    rte_thread_unregister();
}

int fajita_add_device(const char *arguments)
{
    return rte_dev_probe(arguments);
}

int fajita_remove_device(const char *bus, const char *name)
{
    return rte_eal_hotplug_remove(bus, name);
}

static void woken(int number)
{
    (void)number;
}

void fajita_wake(uint64_t thread)
{
    /* Without SA_RESTART: the system call ends. */
    struct sigaction action = {.sa_handler = woken};
    sigaction(SIGRTMAX, &action, NULL);
    pthread_kill((pthread_t)thread, SIGRTMAX);
}
