/* What a worker polls: bursts of mbufs as columns of frames, handed over to other workers, and sent. */

#include "fajita_dpdk.h"
#include "shared.h"

#include <string.h>
#include <time.h>

#include <rte_cycles.h>
#include <rte_ethdev.h>
#include <rte_ether.h>
#include <rte_mbuf.h>
#include <rte_mbuf_dyn.h>
#include <rte_mempool.h>
#include <rte_pause.h>
#include <rte_prefetch.h>
#include <rte_ring.h>

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

/* data_off, refcnt and nb_segs lie in one word, 16 bits each from the lowest on. */
_Static_assert(offsetof(struct rte_mbuf, refcnt) == offsetof(struct rte_mbuf, data_off) + 2 &&
                   offsetof(struct rte_mbuf, nb_segs) == offsetof(struct rte_mbuf, data_off) + 4 &&
                   __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
               "struct rte_mbuf is another");

/* Zero for an mbuf in one piece, of one's own and within its buffer, the usual case: told without a branch, by what lies
   in one cache line. A difference that is negative has the highest bit. */
static inline uint64_t oddity(const struct rte_mbuf *mbuf)
{
    const uint64_t flags = RTE_MBUF_F_INDIRECT | RTE_MBUF_F_EXTERNAL | RTE_MBUF_F_RX_VLAN_STRIPPED;
    uint64_t word, length = mbuf->data_len, is_wrong;

    memcpy(&word, (const char *)mbuf + offsetof(struct rte_mbuf, data_off), sizeof word);
    is_wrong = ((length - 1) | (mbuf->buf_len - (word & 0xFFFF) - length)) >> 63;
    return is_wrong | ((uint32_t)(word >> 16) ^ 0x00010001) | (mbuf->ol_flags & flags) | (mbuf->pkt_len ^ length);
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

/* Ask the port until it has no more, or `held` is full up to `most`; how many are in it then. */
static uint32_t fetch(const struct fajita_lane *lane, struct rte_mbuf **held, uint32_t count, uint32_t most)
{
    while (count < most) {
        uint16_t asked = RTE_MIN((uint32_t)AT_ONCE, most - count);
        uint16_t got = lane->receive(lane->in_port, lane->in_queue, held + count, asked);
        for (uint16_t i = 0; i < got; i++)
            rte_prefetch0(held[count + i]);
        count += got;
        if (got < asked)
            break;
    }
    return count;
}

/* Packets that bring their own times. */
static void read_stamps(const struct fajita_queue *queue, const struct fajita_lane *lane, uint32_t from, uint32_t to)
{
    for (uint32_t i = from; i < to; i++) {
        struct rte_mbuf *mbuf = queue->held[i];
        if (mbuf->ol_flags & queue->stamp_flag)
            queue->time_ns[i] = *RTE_MBUF_DYNFIELD(mbuf, queue->stamp_offset, uint64_t *) * lane->stamp_ns;
    }
}

/* Look at those from `first` to `end` one by one, refuse them or make them plain; how many there are then. */
static uint32_t sort_out(struct fajita_queue *queue, struct fajita_lane *lane, uint32_t first, uint32_t end)
{
    uint32_t count = first;

    for (uint32_t i = first; i < end; i++) {
        struct rte_mbuf *mbuf = queue->held[i];
        if (oddity(mbuf) == 0 || (mbuf = made_plain(queue, lane, mbuf)) != NULL)
            queue->held[count++] = mbuf;
    }
    return count;
}

/* The columns of those from `first` to `end`; zero if all are plain, else what is there is not to be used. */
static uint64_t fill_in(const struct fajita_queue *queue, uint32_t first, uint32_t end)
{
    struct rte_mbuf *const *held = queue->held;
    uint64_t *address = queue->address, *floor = queue->floor, odd = 0;
    uint32_t *captured = queue->captured, *wire = queue->wire;

    for (uint32_t i = first; i < end; i++) {
        const struct rte_mbuf *mbuf = held[i];
        odd |= oddity(mbuf);
        address[i] = (uint64_t)rte_pktmbuf_mtod(mbuf, uintptr_t);
        captured[i] = wire[i] = mbuf->data_len;
        if (floor != NULL)
            floor[i] = (uint64_t)(uintptr_t)mbuf->buf_addr;
    }
    return odd;
}

static uint32_t receive_lane(struct fajita_queue *queue, uint32_t number, uint32_t first, uint32_t most)
{
    struct fajita_lane *lane = &queue->lane[number];
    uint64_t bytes = 0, now;
    uint32_t end;

    if (lane->in_queue == FAJITA_NO_QUEUE || (end = fetch(lane, queue->held, first, most)) == first)
        return first;
    if (unlikely(fill_in(queue, first, end) != 0)) {
        end = sort_out(queue, lane, first, end);
        fill_in(queue, first, end);
    }
    now = fajita_now(queue);
    memset(queue->lane_of + first, number, end - first);
    for (uint32_t i = first; i < end; i++) {
        queue->time_ns[i] = now;
        bytes += queue->captured[i];
    }
    if (lane->stamp_ns != 0)
        read_stamps(queue, lane, first, end);
    lane->in_packets += end - first;
    lane->in_bytes += bytes;
    return end;
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
    fill_in(queue, count, count + come);
    for (uint32_t end = count + come; count < end; count++) {
        queue->time_ns[count] = note_of(queue->held[count])->time_ns;
        queue->lane_of[count] = note_of(queue->held[count])->lane;
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
        queue->time_ns[kept] = queue->time_ns[i];
        kept++;
    }
    if (kept < received)
        fill_in(queue, 0, kept);
    for (uint32_t worker = 0; worker < queue->workers; worker++)
        if (worker != queue->worker)
            kept = take_over(queue, worker, kept);
    queue->pending = kept;
    queue->busy_since = kept > 0 ? rte_get_tsc_cycles() : 0;
    return kept;
}

/* Sending. */

static void send_all(const struct fajita_queue *queue, struct fajita_lane *lane, struct rte_mbuf **mbufs, uint32_t count)
{
    uint32_t done = 0, tries = 0;

    if (lane->lock != NULL)
        while (__atomic_exchange_n(lane->lock, 1, __ATOMIC_ACQUIRE))
            rte_pause();
    while (done < count) {
        uint16_t taken = lane->transmit(lane->out_port, lane->out_queue, mbufs + done, (uint16_t)(count - done));
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
        lane->out_bytes -= rte_pktmbuf_pkt_len(mbufs[i]);
    if (done < count)
        rte_pktmbuf_free_bulk(mbufs + done, count - done);
}

/* Frames that have become longer or shorter. */

/* Where a frame of this length goes in an mbuf that it is copied to; its buffer may be too small. */
static int make_space(struct rte_mbuf *mbuf, uint32_t length)
{
    if (mbuf == NULL || length > mbuf->buf_len)
        return 0;
    mbuf->data_off = RTE_MIN((uint32_t)RTE_PKTMBUF_HEADROOM, mbuf->buf_len - length);
    return 1;
}

/* Have the mbuf of a frame say where that lies now, or copy it there; NULL if there is no room for it: it is freed. */
static struct rte_mbuf *with_frame(struct fajita_queue *queue, struct rte_mbuf *mbuf, uint64_t address, uint32_t length)
{
    uint64_t floor = (uint64_t)(uintptr_t)mbuf->buf_addr;

    if (address >= floor && address + length <= floor + mbuf->buf_len) {
        mbuf->data_off = (uint16_t)(address - floor);
    } else {
        if (!make_space(mbuf, length)) {
            rte_pktmbuf_free(mbuf);
            mbuf = rte_pktmbuf_alloc(queue->large);
            if (!make_space(mbuf, length)) {
                rte_pktmbuf_free(mbuf);
                return NULL;
            }
        }
        memcpy(rte_pktmbuf_mtod(mbuf, void *), (const void *)(uintptr_t)address, length);
    }
    mbuf->data_len = (uint16_t)length;
    mbuf->pkt_len = length;
    return mbuf;
}

/* Of the frames that go on; those that cannot, and those of which nothing is left, are freed. How many there are then. */
static uint32_t take_shape(struct fajita_queue *queue, uint32_t count)
{
    uint32_t kept = 0;

    for (uint32_t i = 0; i < count; i++) {
        struct rte_mbuf *mbuf = queue->held[i];
        uint32_t length = queue->captured[i];
        if (queue->verdict[i] == 1 && length == 0) {
            queue->lane[queue->lane_of[i]].malformed++;
            rte_pktmbuf_free(mbuf);
            continue;
        }
        if (queue->verdict[i] == 1 && (mbuf = with_frame(queue, mbuf, queue->address[i], length)) == NULL) {
            queue->lane[queue->lane_of[i]].too_long++;
            continue;
        }
        queue->held[kept] = mbuf;
        queue->lane_of[kept] = queue->lane_of[i];
        queue->captured[kept] = length;
        queue->verdict[kept] = queue->verdict[i];
        kept++;
    }
    return kept;
}

/* Those of a lane that go on, into `outgoing`; how many. */
static uint32_t choose(struct fajita_queue *queue, uint32_t number, uint32_t count)
{
    const uint8_t *verdict = queue->verdict, *lane_of = queue->lane_of;
    uint32_t passing = 0;
    uint64_t bytes = 0;

    for (uint32_t i = 0; i < count; i++) {
        uint32_t passes = lane_of[i] == number && verdict[i] == 1;
        queue->outgoing[passing] = queue->held[i];
        bytes += passes ? queue->captured[i] : 0;
        passing += passes;
    }
    queue->lane[number].out_bytes += bytes;
    return passing;
}

static void free_dropped(struct fajita_queue *queue, uint32_t count)
{
    uint32_t dropped = 0;

    for (uint32_t i = 0; i < count; i++) {
        queue->outgoing[dropped] = queue->held[i];
        dropped += queue->verdict[i] != 1;
    }
    if (dropped > 0)
        rte_pktmbuf_free_bulk(queue->outgoing, dropped);
}

static int all_pass(const uint8_t *verdict, uint32_t count)
{
    uint8_t others = 0;

    for (uint32_t i = 0; i < count; i++)
        others |= verdict[i] ^ 1;
    return others == 0;
}

int64_t fajita_transmit(int64_t at, int64_t frames)
{
    struct fajita_queue *queue = (struct fajita_queue *)(uintptr_t)at;
    uint32_t count = (uint32_t)frames;

    if (queue->floor != NULL)
        count = take_shape(queue, count);
    if (queue->lanes == 1 && all_pass(queue->verdict, count)) {
        uint64_t bytes = 0;
        for (uint32_t i = 0; i < count; i++)
            bytes += queue->captured[i];
        queue->lane[0].out_bytes += bytes;
        send_all(queue, &queue->lane[0], queue->held, count);
    } else {
        for (uint32_t number = 0; number < queue->lanes; number++) {
            uint32_t passing = choose(queue, number, count);
            if (passing > 0)
                send_all(queue, &queue->lane[number], queue->outgoing, passing);
        }
        free_dropped(queue, count);
    }
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
