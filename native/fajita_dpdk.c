/* DPDK for fajita: ports, and bursts of mbufs as columns of frames. */

#define _GNU_SOURCE
#include "fajita_dpdk.h"

#include <errno.h>
#include <net/if.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <rte_cycles.h>
#include <rte_dev.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_ethdev.h>
#include <rte_ether.h>
#include <rte_lcore.h>
#include <rte_log.h>
#include <rte_mbuf.h>
#include <rte_mbuf_dyn.h>
#include <rte_mempool.h>
#include <rte_memcpy.h>
#include <rte_pause.h>
#include <rte_ring.h>
#include <rte_version.h>

#if RTE_VERSION < RTE_VERSION_NUM(22, 11, 0, 0)
#error "fajita needs DPDK 22.11 or newer"
#endif

/* Mbufs that are asked for at once: what vector drivers like. */
#define AT_ONCE 32
#define MBUF_CACHE 256
/* Of a frame in memory that is played. */
#define SLOT 64

/* The log: the newest bytes, in a ring. */

/* What a worker tells another of a frame that it hands over; where in an mbuf that is, once DPDK has begun. */
struct note {
    uint64_t time_ns;
    uint64_t lane;
};
static int note_offset = -1;

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

/* The environment. */

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
    int status = rte_eal_init(argc, argv) < 0 ? -rte_errno : 0;
    /* A usage text belongs where standard output leads now. */
    fflush(stdout);
    if (status == 0) {
        struct rte_mbuf_dynfield field = {.name = "fajita_note", .size = sizeof(struct note), .align = 8};
        note_offset = rte_mbuf_dynfield_register(&field);
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

/* Ports. */

int fajita_list_ports(uint16_t *ports, int room)
{
    int count = 0;
    uint16_t port;

    RTE_ETH_FOREACH_DEV(port)
    {
        if (count < room)
            ports[count++] = port;
    }
    return count;
}

int fajita_find_port(const char *name)
{
    uint16_t port;
    int status = rte_eth_dev_get_port_by_name(name, &port);
    return status < 0 ? status : port;
}

int fajita_describe_port(uint16_t port, struct fajita_port *description)
{
    struct rte_eth_dev_info info;
    struct rte_ether_addr mac;
    int status = rte_eth_dev_info_get(port, &info);
    if (status < 0)
        return status;
    memset(description, 0, sizeof *description);
    rte_eth_dev_get_name_by_port(port, description->name);
    snprintf(description->driver, sizeof description->driver, "%s", info.driver_name);
    if (rte_eth_macaddr_get(port, &mac) == 0)
        memcpy(description->mac, mac.addr_bytes, sizeof description->mac);
    rte_eth_dev_get_mtu(port, &description->mtu);
    description->receive_queues = info.max_rx_queues;
    description->transmit_queues = info.max_tx_queues;
    description->indirection_entries = info.reta_size;
    description->key_bytes = info.hash_key_size;
    description->hash_types = info.flow_type_rss_offloads;
    description->socket = rte_eth_dev_socket_id(port);
    return 0;
}

static int set_indirection(uint16_t port, const struct fajita_setup *setup, uint16_t entries)
{
    struct rte_eth_rss_reta_entry64 table[RTE_ETH_RSS_RETA_SIZE_512 / RTE_ETH_RETA_GROUP_SIZE];
    memset(table, 0, sizeof table);
    if (entries > RTE_ETH_RSS_RETA_SIZE_512)
        return -EINVAL;
    for (uint16_t i = 0; i < entries; i++) {
        struct rte_eth_rss_reta_entry64 *group = &table[i / RTE_ETH_RETA_GROUP_SIZE];
        group->mask |= UINT64_C(1) << (i % RTE_ETH_RETA_GROUP_SIZE);
        group->reta[i % RTE_ETH_RETA_GROUP_SIZE] = setup->indirection[i % setup->buckets];
    }
    return rte_eth_dev_rss_reta_update(port, table, entries);
}

int fajita_set_up_port(uint16_t port, const struct fajita_setup *setup)
{
    struct rte_eth_dev_info info;
    struct rte_eth_conf conf;
    uint16_t receive_descriptors = setup->receive_descriptors, transmit_descriptors = setup->transmit_descriptors;
    int socket = rte_eth_dev_socket_id(port), status = rte_eth_dev_info_get(port, &info);

    memset(&conf, 0, sizeof conf);
    if (status < 0)
        return status;
    if (setup->key != NULL) {
        conf.rxmode.mq_mode = RTE_ETH_MQ_RX_RSS;
        conf.rx_adv_conf.rss_conf = (struct rte_eth_rss_conf){
            .rss_key = (uint8_t *)(uintptr_t)setup->key,
            .rss_key_len = setup->key_bytes,
            .rss_hf = setup->hash_types & info.flow_type_rss_offloads,
        };
    }
    if ((status = rte_eth_dev_configure(port, setup->receive_queues, setup->transmit_queues, &conf)) < 0)
        return status;
    if ((status = rte_eth_dev_adjust_nb_rx_tx_desc(port, &receive_descriptors, &transmit_descriptors)) < 0)
        return status;
    for (uint16_t queue = 0; queue < setup->receive_queues; queue++) {
        status = rte_eth_rx_queue_setup(port, queue, receive_descriptors, socket, NULL, setup->pools[queue]);
        if (status < 0)
            return status;
    }
    for (uint16_t queue = 0; queue < setup->transmit_queues; queue++) {
        if ((status = rte_eth_tx_queue_setup(port, queue, transmit_descriptors, socket, NULL)) < 0)
            return status;
    }
    /* A device without promiscuous mode gets what it gets. */
    rte_eth_promiscuous_enable(port);
    return 0;
}

/* The indirection comes once the device runs: several drivers refuse it before. */
int fajita_spread(uint16_t port, const struct fajita_setup *setup)
{
    struct rte_eth_dev_info info;
    int status = rte_eth_dev_info_get(port, &info);
    return status < 0 ? status : set_indirection(port, setup, info.reta_size);
}

uint64_t fajita_hash_types(int source, int destination, int source_port, int destination_port)
{
    uint64_t types = RTE_ETH_RSS_IPV4 | RTE_ETH_RSS_FRAG_IPV4 | RTE_ETH_RSS_NONFRAG_IPV4_OTHER | RTE_ETH_RSS_IPV6 |
                     RTE_ETH_RSS_FRAG_IPV6 | RTE_ETH_RSS_NONFRAG_IPV6_OTHER;

    if (source_port || destination_port)
        types |= RTE_ETH_RSS_TCP | RTE_ETH_RSS_UDP | RTE_ETH_RSS_SCTP;
    if (source != destination)
        types |= source ? RTE_ETH_RSS_L3_SRC_ONLY : RTE_ETH_RSS_L3_DST_ONLY;
    if (source_port != destination_port)
        types |= source_port ? RTE_ETH_RSS_L4_SRC_ONLY : RTE_ETH_RSS_L4_DST_ONLY;
    return types;
}

int fajita_start_port(uint16_t port)
{
    return rte_eth_dev_start(port);
}

int fajita_stop_port(uint16_t port)
{
    return rte_eth_dev_stop(port);
}

int fajita_close_port(uint16_t port)
{
    return rte_eth_dev_close(port);
}

/* Of an interface of the kernel's: drivers on top of one do not all look whether it is up. */
static int is_running(unsigned int index)
{
    struct ifreq request = {.ifr_name = ""};
    int answered, socket_of_any_kind;

    if (if_indextoname(index, request.ifr_name) == NULL)
        return 0;
    socket_of_any_kind = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (socket_of_any_kind < 0)
        return 1; /* the driver says so */
    answered = ioctl(socket_of_any_kind, SIOCGIFFLAGS, &request);
    close(socket_of_any_kind);
    return answered == 0 && (request.ifr_flags & IFF_UP) && (request.ifr_flags & IFF_RUNNING);
}

int fajita_link(uint16_t port, uint32_t *megabits_per_second)
{
    struct rte_eth_dev_info info;
    struct rte_eth_link link;
    int status = rte_eth_link_get_nowait(port, &link);
    if (status < 0)
        return status;
    *megabits_per_second = link.link_speed;
    if (link.link_status != RTE_ETH_LINK_UP)
        return 0;
    return rte_eth_dev_info_get(port, &info) != 0 || info.if_index == 0 || is_running(info.if_index);
}

int fajita_count_port(uint16_t port, struct fajita_counts *counts)
{
    struct rte_eth_stats stats;
    int status = rte_eth_stats_get(port, &stats);
    if (status < 0)
        return status;
    *counts = (struct fajita_counts){
        .in_packets = stats.ipackets,
        .in_bytes = stats.ibytes,
        .out_packets = stats.opackets,
        .out_bytes = stats.obytes,
        .missed = stats.imissed,
        .in_errors = stats.ierrors,
        .out_errors = stats.oerrors,
        .no_memory = stats.rx_nombuf,
    };
    return 0;
}

struct rte_mempool *fajita_make_pool(const char *name, uint32_t mbufs, uint16_t room, int socket)
{
    uint32_t cache = RTE_MIN((uint32_t)MBUF_CACHE, mbufs / 8);
    return rte_pktmbuf_pool_create(name, mbufs, cache, 0, room + RTE_PKTMBUF_HEADROOM, socket);
}

struct rte_ring *fajita_make_ring(const char *name, uint32_t count, int socket)
{
    if (note_offset < 0)
        return NULL;
    return rte_ring_create(name, count, socket, RING_F_SP_ENQ | RING_F_SC_DEQ);
}

void fajita_free_ring(struct rte_ring *ring)
{
    struct rte_mbuf *left;
    while (rte_ring_dequeue(ring, (void **)&left) == 0)
        rte_pktmbuf_free(left);
    rte_ring_free(ring);
}

void fajita_free_pool(struct rte_mempool *pool)
{
    rte_mempool_free(pool);
}

uint32_t fajita_mbufs_in_use(struct rte_mempool *pool)
{
    return rte_mempool_in_use_count(pool);
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

/* Receiving: nothing that an mbuf says of itself is believed before it is looked at. */

void fajita_begin_queue(struct fajita_queue *queue)
{
    struct timespec real, monotonic;
    int flag = rte_mbuf_dynflag_lookup(RTE_MBUF_DYNFLAG_RX_TIMESTAMP_NAME, NULL);

    clock_gettime(CLOCK_MONOTONIC, &monotonic);
    clock_gettime(CLOCK_REALTIME, &real);
    queue->clock_offset_ns =
        (real.tv_sec - monotonic.tv_sec) * INT64_C(1000000000) + real.tv_nsec - monotonic.tv_nsec;
    queue->stamp_offset = rte_mbuf_dynfield_lookup(RTE_MBUF_DYNFIELD_TIMESTAMP_NAME, NULL);
    queue->stamp_flag = flag < 0 || queue->stamp_offset < 0 ? 0 : UINT64_C(1) << flag;
    for (uint32_t i = 0; i < queue->lanes; i++) {
        struct fajita_lane *lane = &queue->lane[i];
        if (lane->receive == NULL)
            lane->receive = rte_eth_rx_burst;
        if (lane->transmit == NULL)
            lane->transmit = rte_eth_tx_burst;
    }
}

/* Since 1970, and never going back: the clock of the machine may be set while this runs. */
uint64_t fajita_now(const struct fajita_queue *queue)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * INT64_C(1000000000) + now.tv_nsec + queue->clock_offset_ns;
}

static int lies_within_buffer(const struct rte_mbuf *segment)
{
    return (uint32_t)segment->data_off + segment->data_len <= segment->buf_len;
}

/* In one piece, of one's own and within its buffer: the usual case. */
static int is_plain(const struct rte_mbuf *mbuf)
{
    return mbuf->nb_segs == 1 && RTE_MBUF_DIRECT(mbuf) && rte_mbuf_refcnt_read(mbuf) == 1 &&
           !(mbuf->ol_flags & RTE_MBUF_F_RX_VLAN_STRIPPED) && mbuf->pkt_len == mbuf->data_len &&
           mbuf->data_len > 0 && lies_within_buffer(mbuf);
}

/* Whether the segments are as many and as long as is said. A frame without a byte stops some devices that get it. */
static int is_sound(const struct rte_mbuf *mbuf)
{
    uint32_t segments = 0, length = 0;
    for (const struct rte_mbuf *segment = mbuf; segment != NULL; segment = segment->next) {
        if (!lies_within_buffer(segment) || ++segments > mbuf->nb_segs)
            return 0;
        length += segment->data_len;
    }
    return segments == mbuf->nb_segs && length == mbuf->pkt_len && length > 0;
}

static int is_shared(const struct rte_mbuf *mbuf)
{
    if (rte_mbuf_refcnt_read(mbuf) > 1 || RTE_MBUF_CLONED(mbuf))
        return 1;
    return RTE_MBUF_HAS_EXTBUF(mbuf) && rte_mbuf_ext_refcnt_read(mbuf->shinfo) > 1;
}

/* The same frame as a plain mbuf; NULL if it was refused, counted and freed. */
static struct rte_mbuf *made_plain(struct fajita_queue *queue, struct fajita_lane *lane, struct rte_mbuf *mbuf)
{
    if (!is_sound(mbuf)) {
        lane->malformed++;
        rte_pktmbuf_free(mbuf);
        return NULL;
    }
    if (is_shared(mbuf) || (mbuf->nb_segs > 1 && rte_pktmbuf_linearize(mbuf) < 0)) {
        struct rte_mbuf *copy = NULL;
        if (mbuf->pkt_len + RTE_PKTMBUF_HEADROOM <= rte_pktmbuf_data_room_size(queue->large))
            copy = rte_pktmbuf_copy(mbuf, queue->large, 0, UINT32_MAX);
        rte_pktmbuf_free(mbuf);
        if (copy == NULL) {
            lane->too_long++;
            return NULL;
        }
        lane->copied++;
        mbuf = copy;
    }
    /* A tag that the device took out belongs to the frame. */
    if ((mbuf->ol_flags & RTE_MBUF_F_RX_VLAN_STRIPPED) && rte_vlan_insert(&mbuf) < 0) {
        lane->malformed++;
        rte_pktmbuf_free(mbuf);
        return NULL;
    }
    mbuf->ol_flags &= ~(RTE_MBUF_F_RX_VLAN_STRIPPED | RTE_MBUF_F_RX_VLAN | RTE_MBUF_F_TX_VLAN);
    return mbuf;
}

static uint64_t time_of(const struct fajita_queue *queue, const struct fajita_lane *lane, struct rte_mbuf *mbuf,
                        uint64_t now)
{
    if (lane->stamp_ns == 0 || !(mbuf->ol_flags & queue->stamp_flag))
        return now;
    return *RTE_MBUF_DYNFIELD(mbuf, queue->stamp_offset, uint64_t *) * lane->stamp_ns;
}

static uint32_t receive_lane(struct fajita_queue *queue, uint32_t number, uint32_t count, uint32_t most)
{
    struct fajita_lane *lane = &queue->lane[number];
    struct rte_mbuf *come[AT_ONCE], **held = queue->held;
    uint64_t *address = queue->address, *time_ns = queue->time_ns, bytes = 0;
    uint32_t *captured = queue->captured, *wire = queue->wire, before = count;
    uint8_t *lane_of = queue->lane_of;

    if (lane->in_queue == FAJITA_NO_QUEUE)
        return count;
    while (count < most) {
        uint16_t asked = RTE_MIN((uint32_t)AT_ONCE, most - count);
        uint16_t got = lane->receive(lane->in_port, lane->in_queue, come, asked);
        uint64_t now = got > 0 ? fajita_now(queue) : 0;
        for (uint16_t i = 0; i < got; i++) {
            struct rte_mbuf *mbuf = come[i];
            if (unlikely(!is_plain(mbuf)) && (mbuf = made_plain(queue, lane, mbuf)) == NULL)
                continue;
            held[count] = mbuf;
            lane_of[count] = number;
            address[count] = (uint64_t)rte_pktmbuf_mtod(mbuf, uintptr_t);
            captured[count] = wire[count] = mbuf->data_len;
            time_ns[count] = time_of(queue, lane, mbuf, now);
            bytes += mbuf->data_len;
            count++;
        }
        if (got < asked)
            break;
    }
    lane->in_packets += count - before;
    lane->in_bytes += bytes;
    return count;
}

/* How many may be received, all of which might be one other worker's: what is not is left to the port, which counts it. */
static uint32_t room_of_others(const struct fajita_queue *queue)
{
    uint32_t room = queue->room;
    for (uint32_t worker = 0; worker < queue->workers; worker++)
        if (worker != queue->worker)
            room = RTE_MIN(room, rte_ring_free_count(queue->to[worker]));
    return room;
}

int64_t fajita_receive(int64_t at, int64_t most)
{
    struct fajita_queue *queue = (struct fajita_queue *)(uintptr_t)at;
    uint32_t count = 0, limit = (uint32_t)RTE_MIN((int64_t)room_of_others(queue), most);

    if (queue->busy_since != 0)
        queue->busy_cycles += rte_get_tsc_cycles() - queue->busy_since;
    for (uint32_t i = 0; i < queue->lanes; i++)
        count = receive_lane(queue, (queue->next + i) % queue->lanes, count, limit);
    /* In turn, so that neither side starves the other. */
    queue->next = (queue->next + 1) % queue->lanes;
    queue->pending = count;
    queue->busy_since = count > 0 ? rte_get_tsc_cycles() : 0;
    return count;
}

/* Several workers. */

static struct note *note_of(struct rte_mbuf *mbuf)
{
    return RTE_MBUF_DYNFIELD(mbuf, note_offset, struct note *);
}

static uint32_t take_over(struct fajita_queue *queue, uint32_t worker, uint32_t count)
{
    uint32_t come =
        rte_ring_sc_dequeue_burst(queue->come_from[worker], (void **)(queue->held + count), queue->room - count, NULL);
    for (uint32_t end = count + come; count < end; count++) {
        struct rte_mbuf *mbuf = queue->held[count];
        queue->address[count] = (uint64_t)rte_pktmbuf_mtod(mbuf, uintptr_t);
        queue->captured[count] = queue->wire[count] = mbuf->data_len;
        queue->time_ns[count] = note_of(mbuf)->time_ns;
        queue->lane_of[count] = note_of(mbuf)->lane;
    }
    return count;
}

uint32_t fajita_waiting(const struct fajita_queue *queue)
{
    uint32_t waiting = 0;
    for (uint32_t worker = 0; worker < queue->workers; worker++)
        if (worker != queue->worker)
            waiting += rte_ring_count(queue->come_from[worker]);
    return waiting;
}

static uint32_t owner_of(const struct fajita_queue *queue, uint32_t frame)
{
    return queue->indirection[queue->buckets[frame] & 127];
}

int64_t fajita_exchange(int64_t at, int64_t received)
{
    struct fajita_queue *queue = (struct fajita_queue *)(uintptr_t)at;
    uint32_t kept = 0;

    for (uint32_t worker = 0; worker < queue->workers; worker++) {
        uint32_t leaving = 0;
        if (worker == queue->worker)
            continue;
        for (uint32_t i = 0; i < received; i++) {
            if (owner_of(queue, i) != worker)
                continue;
            *note_of(queue->held[i]) = (struct note){queue->time_ns[i], queue->lane_of[i]};
            queue->lane[queue->lane_of[i]].handed++;
            queue->outgoing[leaving++] = queue->held[i];
        }
        /* All fit: no more were received. */
        if (leaving > 0)
            rte_ring_sp_enqueue_bulk(queue->to[worker], (void **)queue->outgoing, leaving, NULL);
    }
    for (uint32_t i = 0; i < received; i++) {
        if (owner_of(queue, i) != queue->worker)
            continue;
        queue->held[kept] = queue->held[i];
        queue->lane_of[kept] = queue->lane_of[i];
        queue->address[kept] = queue->address[i];
        queue->captured[kept] = queue->wire[kept] = queue->captured[i];
        queue->time_ns[kept] = queue->time_ns[i];
        kept++;
    }
    for (uint32_t worker = 0; worker < queue->workers; worker++)
        if (worker != queue->worker)
            kept = take_over(queue, worker, kept);
    queue->pending = kept;
    queue->busy_since = kept > 0 ? rte_get_tsc_cycles() : 0;
    return kept;
}

/* Sending. */

static void send_all(struct fajita_queue *queue, struct fajita_lane *lane, uint32_t count)
{
    uint32_t done = 0, tries = 0;

    if (lane->lock != NULL)
        while (__atomic_exchange_n(lane->lock, 1, __ATOMIC_ACQUIRE))
            rte_pause();
    while (done < count) {
        uint16_t taken =
            lane->transmit(lane->out_port, lane->out_queue, queue->outgoing + done, (uint16_t)(count - done));
        done += taken;
        if (taken == 0) {
            if (tries++ >= queue->retries)
                break;
            rte_pause();
        }
    }
    if (lane->lock != NULL)
        __atomic_store_n(lane->lock, 0, __ATOMIC_RELEASE);
    lane->out_packets += done;
    lane->unsent += count - done;
    for (uint32_t i = done; i < count; i++)
        lane->out_bytes -= rte_pktmbuf_pkt_len(queue->outgoing[i]);
    if (done < count)
        rte_pktmbuf_free_bulk(queue->outgoing + done, count - done);
}

int64_t fajita_transmit(int64_t at, int64_t count)
{
    struct fajita_queue *queue = (struct fajita_queue *)(uintptr_t)at;
    struct rte_mbuf **held = queue->held, **outgoing = queue->outgoing;
    const uint8_t *verdict = queue->verdict, *lane_of = queue->lane_of;
    uint32_t dropped = 0;

    for (uint32_t number = 0; number < queue->lanes; number++) {
        uint64_t bytes = 0;
        uint32_t passing = 0;
        for (int64_t i = 0; i < count; i++) {
            uint32_t passes = lane_of[i] == number && verdict[i] == 1;
            outgoing[passing] = held[i];
            bytes += passes ? queue->captured[i] : 0;
            passing += passes;
        }
        queue->lane[number].out_bytes += bytes;
        if (passing > 0)
            send_all(queue, &queue->lane[number], passing);
    }
    for (int64_t i = 0; i < count; i++) {
        outgoing[dropped] = held[i];
        dropped += verdict[i] != 1;
    }
    if (dropped > 0)
        rte_pktmbuf_free_bulk(outgoing, dropped);
    queue->pending = 0;
    return 0;
}

uint64_t fajita_cycles_per_second(void)
{
    return rte_get_tsc_hz();
}

void fajita_end_queue(struct fajita_queue *queue)
{
    rte_pktmbuf_free_bulk(queue->held, queue->pending);
    queue->pending = 0;
}

/* For benchmarks. */

static struct {
    const uint8_t *slots;
    uint32_t count, next;
    uint16_t length;
    struct rte_mempool *pool;
} play;

void fajita_play(const uint8_t *slots, uint32_t count, uint16_t length, struct rte_mempool *pool)
{
    play.slots = slots;
    play.count = count;
    play.next = 0;
    play.length = length;
    play.pool = pool;
}

uint16_t fajita_played(uint16_t port, uint16_t queue, struct rte_mbuf **mbufs, uint16_t count)
{
    (void)port, (void)queue;
    if (rte_pktmbuf_alloc_bulk(play.pool, mbufs, count) != 0)
        return 0;
    for (uint16_t i = 0; i < count; i++) {
        rte_mov64(rte_pktmbuf_mtod(mbufs[i], uint8_t *), play.slots + (uint64_t)play.next * SLOT);
        mbufs[i]->data_len = play.length;
        mbufs[i]->pkt_len = play.length;
        play.next = play.next + 1 == play.count ? 0 : play.next + 1;
    }
    return count;
}

void fajita_play_alone(uint64_t blocks, uint32_t block)
{
    struct rte_mbuf *mbufs[block];

    while (blocks-- > 0) {
        for (uint32_t i = 0; i < block; i += AT_ONCE)
            fajita_played(0, 0, mbufs + i, AT_ONCE);
        fajita_swallow(0, 0, mbufs, block);
    }
}

uint16_t fajita_swallow(uint16_t port, uint16_t queue, struct rte_mbuf **mbufs, uint16_t count)
{
    (void)port, (void)queue;
    rte_pktmbuf_free_bulk(mbufs, count);
    return count;
}

/* For tests. */

struct rte_mbuf *fajita_make_mbuf(struct rte_mempool *pool, const uint8_t *bytes, const uint16_t *lengths,
                                  uint16_t segments, uint16_t headroom)
{
    struct rte_mbuf *head = NULL, *last = NULL;

    for (uint16_t i = 0; i < segments; bytes += lengths[i++]) {
        struct rte_mbuf *segment = rte_pktmbuf_alloc(pool);
        if (segment == NULL || (uint32_t)headroom + lengths[i] > segment->buf_len) {
            rte_pktmbuf_free(segment);
            rte_pktmbuf_free(head);
            return NULL;
        }
        segment->data_off = headroom;
        segment->data_len = lengths[i];
        memcpy(rte_pktmbuf_mtod(segment, void *), bytes, lengths[i]);
        if (head == NULL) {
            head = segment;
        } else {
            last->next = segment;
            head->nb_segs++;
        }
        head->pkt_len += lengths[i];
        last = segment;
    }
    return head;
}

void fajita_bend_mbuf(struct rte_mbuf *mbuf, uint16_t data_offset, uint16_t data_length, uint32_t packet_length)
{
    mbuf->data_off = data_offset;
    mbuf->data_len = data_length;
    mbuf->pkt_len = packet_length;
}

struct rte_mbuf *fajita_clone_mbuf(struct rte_mbuf *mbuf, struct rte_mempool *pool)
{
    return rte_pktmbuf_clone(mbuf, pool);
}

void fajita_free_mbuf(struct rte_mbuf *mbuf)
{
    rte_pktmbuf_free(mbuf);
}

uint32_t fajita_read_mbuf(const struct rte_mbuf *mbuf, uint8_t *into, uint32_t room)
{
    uint32_t length = RTE_MIN(room, rte_pktmbuf_pkt_len(mbuf));
    const void *at = rte_pktmbuf_read(mbuf, 0, length, into);
    if (at != NULL && at != into)
        memcpy(into, at, length);
    return rte_pktmbuf_pkt_len(mbuf);
}
