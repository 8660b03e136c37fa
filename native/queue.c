/* What a worker polls: bursts of mbufs as columns of frames, handed over to other workers, and sent. */

#include "fajita_dpdk.h"
#include "shared.h"

#include <time.h>

#include <rte_cycles.h>
#include <rte_ethdev.h>
#include <rte_ether.h>
#include <rte_mbuf.h>
#include <rte_mbuf_dyn.h>
#include <rte_mempool.h>
#include <rte_pause.h>
#include <rte_ring.h>

/* Receiving: nothing that an mbuf says of itself is believed before it is looked at. */

static int64_t read_clock(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}

/* From the monotonic clock to nanoseconds since 1970. */
static int64_t clock_offset(void)
{
    int64_t offset = 0, least = INT64_MAX;

    /* The thread may be put aside between two looks: of some tries the one that took least is the best. */
    for (int i = 0; i < 8; i++) {
        int64_t before = read_clock(CLOCK_MONOTONIC), real = read_clock(CLOCK_REALTIME);
        int64_t taken = read_clock(CLOCK_MONOTONIC) - before;
        if (taken < least) {
            least = taken;
            offset = real - before - taken / 2;
        }
    }
    return offset;
}

void fajita_begin_queue(struct fajita_queue *queue)
{
    int flag = rte_mbuf_dynflag_lookup(RTE_MBUF_DYNFLAG_RX_TIMESTAMP_NAME, NULL);

    queue->clock_offset_ns = clock_offset();
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
    return read_clock(CLOCK_MONOTONIC) + queue->clock_offset_ns;
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

/* A segment that nobody has is in its pool: to free it would have it there twice. */
static int has_free(const struct rte_mbuf *mbuf)
{
    const struct rte_mbuf *segment = mbuf;
    for (uint32_t i = 0; i < mbuf->nb_segs && segment != NULL; i++, segment = segment->next)
        if (rte_mbuf_refcnt_read(segment) == 0)
            return 1;
    return rte_mbuf_refcnt_read(mbuf) == 0;
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

/* A tag that the device took out belongs to the frame. */
static int lacks_tag(const struct rte_mbuf *mbuf)
{
    return (mbuf->ol_flags & RTE_MBUF_F_RX_VLAN_STRIPPED) != 0;
}

/* DPDK puts a tag only there where there is room for it in memory of the mbuf's own. */
static int can_have_tag(const struct rte_mbuf *mbuf)
{
    return RTE_MBUF_DIRECT(mbuf) && rte_pktmbuf_headroom(mbuf) >= sizeof(struct rte_vlan_hdr);
}

static int is_shared(const struct rte_mbuf *mbuf)
{
    if (rte_mbuf_refcnt_read(mbuf) > 1 || RTE_MBUF_CLONED(mbuf))
        return 1;
    return RTE_MBUF_HAS_EXTBUF(mbuf) && rte_mbuf_ext_refcnt_read(mbuf->shinfo) > 1;
}

/* The frame in one piece of its own; NULL if there is no room for it, which is counted. The mbuf is freed. */
static struct rte_mbuf *copied(struct fajita_queue *queue, struct fajita_lane *lane, struct rte_mbuf *mbuf)
{
    struct rte_mbuf *copy = NULL;

    if (mbuf->pkt_len + RTE_PKTMBUF_HEADROOM > rte_pktmbuf_data_room_size(queue->large))
        lane->too_long++;
    else if ((copy = rte_pktmbuf_copy(mbuf, queue->large, 0, UINT32_MAX)) == NULL)
        lane->no_memory++;
    else
        lane->copied++;
    rte_pktmbuf_free(mbuf);
    return copy;
}

/* The same frame as a plain mbuf; NULL if it was refused, counted and freed. */
static struct rte_mbuf *made_plain(struct fajita_queue *queue, struct fajita_lane *lane, struct rte_mbuf *mbuf)
{
    if (has_free(mbuf)) {
        lane->malformed++;
        return NULL;
    }
    if (!is_sound(mbuf)) {
        lane->malformed++;
        rte_pktmbuf_free(mbuf);
        return NULL;
    }
    if (is_shared(mbuf) || (mbuf->nb_segs > 1 && rte_pktmbuf_linearize(mbuf) < 0) ||
        (lacks_tag(mbuf) && !can_have_tag(mbuf))) {
        if ((mbuf = copied(queue, lane, mbuf)) == NULL)
            return NULL;
    }
    if (lacks_tag(mbuf) && rte_vlan_insert(&mbuf) < 0) {
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

static struct fajita_note *note_of(struct rte_mbuf *mbuf)
{
    return RTE_MBUF_DYNFIELD(mbuf, fajita_note_offset, struct fajita_note *);
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
            *note_of(queue->held[i]) = (struct fajita_note){queue->time_ns[i], queue->lane_of[i]};
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
