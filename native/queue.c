/* What a worker polls: bursts of mbufs as columns of frames. */

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
#include <rte_prefetch.h>
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

/* data_off, refcnt, nb_segs and port lie in one word, 16 bits each from the lowest on, and ol_flags in the next. */
_Static_assert(offsetof(struct rte_mbuf, refcnt) == offsetof(struct rte_mbuf, data_off) + 2 &&
                   offsetof(struct rte_mbuf, nb_segs) == offsetof(struct rte_mbuf, data_off) + 4 &&
                   offsetof(struct rte_mbuf, ol_flags) == offsetof(struct rte_mbuf, data_off) + 8 &&
                   __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
               "struct rte_mbuf is another");
typedef uint64_t two_words __attribute__((vector_size(16)));

/* What is odd about mbufs: of one in one piece, of one's own and within its buffer, the usual case, it is nothing. Told
   without a branch, by what lies in one cache line. */
struct oddity {
    two_words differing; /* from one segment that one holds, and no flags that matter */
    int32_t lacking;     /* negative: no byte, or some beyond the buffer */
    uint32_t elsewhere;  /* bytes */
};

static inline void look_at(const struct rte_mbuf *mbuf, struct oddity *oddity)
{
    const two_words usual = {UINT64_C(0x0000000100010000), 0};
    const two_words looked_at = {UINT64_C(0x0000FFFFFFFF0000),
                                 RTE_MBUF_F_INDIRECT | RTE_MBUF_F_EXTERNAL | RTE_MBUF_F_RX_VLAN_STRIPPED};
    int32_t length = mbuf->data_len;
    two_words words;

    memcpy(&words, (const char *)mbuf + offsetof(struct rte_mbuf, data_off), sizeof words);
    oddity->differing |= (words ^ usual) & looked_at;
    oddity->lacking |= (length - 1) | (mbuf->buf_len - mbuf->data_off - length);
    oddity->elsewhere |= mbuf->pkt_len ^ (uint32_t)length;
}

static inline int is_odd(const struct oddity *oddity)
{
    return (oddity->differing[0] | oddity->differing[1]) != 0 || oddity->lacking < 0 || oddity->elsewhere != 0;
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

/* Ask the port until it has no more, or `mbufs` is full up to `most`; how many are in it then. */
static uint32_t fetch(const struct fajita_lane *lane, struct rte_mbuf **mbufs, uint32_t count, uint32_t most)
{
    if (lane->in_queue == FAJITA_NO_QUEUE)
        return count;
    while (count < most) {
        uint16_t asked = RTE_MIN((uint32_t)AT_ONCE, most - count);
        uint16_t got = lane->receive(lane->in_port, lane->in_queue, mbufs + count, asked);
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
        struct oddity oddity = {0};
        look_at(mbuf, &oddity);
        if (!is_odd(&oddity) || (mbuf = made_plain(queue, lane, mbuf)) != NULL)
            queue->held[count++] = mbuf;
    }
    return count;
}

/* Of a block the kernel asks for the others in time. */
#define FIRST_FRAMES 64

static inline void fill_in(const struct fajita_queue *queue, uint32_t first, uint32_t end, int asks, struct oddity *odd)
{
    struct rte_mbuf *const *held = queue->held;
    uint64_t *address = queue->address, *floor = queue->floor;
    uint32_t *captured = queue->captured, *wire = queue->wire;

    for (uint32_t i = first; i < end; i++) {
        const struct rte_mbuf *mbuf = held[i];
        look_at(mbuf, odd);
        address[i] = (uint64_t)rte_pktmbuf_mtod(mbuf, uintptr_t);
        captured[i] = wire[i] = mbuf->data_len;
        if (asks)
            rte_prefetch0(rte_pktmbuf_mtod(mbuf, const void *));
        if (floor != NULL)
            floor[i] = (uint64_t)(uintptr_t)mbuf->buf_addr;
    }
}

int fajita_fill_in(const struct fajita_queue *queue, uint32_t first, uint32_t end)
{
    uint32_t asked = RTE_MIN(end, RTE_MAX(first, (uint32_t)FIRST_FRAMES));
    struct oddity odd = {0};

    fill_in(queue, first, asked, 1, &odd);
    fill_in(queue, asked, end, 0, &odd);
    return !is_odd(&odd);
}

/* Those held from `first` to `end` have come by a lane: refuse them or have them in the columns; how many are held. */
static uint32_t take(struct fajita_queue *queue, uint32_t number, uint32_t first, uint32_t end)
{
    struct fajita_lane *lane = &queue->lane[number];
    uint64_t bytes = 0, now;

    if (end == first)
        return first;
    if (unlikely(!fajita_fill_in(queue, first, end))) {
        end = sort_out(queue, lane, first, end);
        fajita_fill_in(queue, first, end);
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

/* Of lanes in turn, so that neither side starves the other. */
static uint32_t begin_turn(struct fajita_queue *queue)
{
    uint32_t turn = queue->next;
    queue->next = (turn + 1) % queue->lanes;
    return turn;
}

/* What has been received ahead; how many frames of it are held. */
static uint32_t take_ahead(struct fajita_queue *queue)
{
    uint32_t count = 0, at = 0;

    for (uint32_t i = 0; i < queue->lanes; i++) {
        uint32_t number = (queue->ahead_next + i) % queue->lanes, came = queue->ahead_of[number];
        memcpy(queue->held + count, queue->ahead + at, came * sizeof *queue->held);
        queue->ahead_of[number] = 0;
        count = take(queue, number, count, count + came);
        at += came;
    }
    return count;
}

/* Nobody looks at these mbufs yet: the kernel asks for them while the chain runs on those that are held. */
static void receive_ahead(struct fajita_queue *queue, uint32_t most)
{
    uint32_t count = 0;

    queue->ahead_next = begin_turn(queue);
    for (uint32_t i = 0; i < queue->lanes; i++) {
        uint32_t number = (queue->ahead_next + i) % queue->lanes;
        uint32_t end = fetch(&queue->lane[number], queue->ahead, count, most);
        queue->ahead_of[number] = end - count;
        count = end;
    }
}

/* After those that are held, up to `most`; how many are held then. */
static uint32_t receive_now(struct fajita_queue *queue, uint32_t count, uint32_t most)
{
    uint32_t turn = begin_turn(queue);

    for (uint32_t i = 0; i < queue->lanes; i++) {
        uint32_t number = (turn + i) % queue->lanes;
        uint32_t end = fetch(&queue->lane[number], queue->held, count, most);
        for (uint32_t j = count; j < end; j++)
            rte_prefetch0(queue->held[j]);
        count = take(queue, number, count, end);
    }
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
    uint32_t count = take_ahead(queue), limit = (uint32_t)RTE_MIN((int64_t)room_of_others(queue), most);

    if (count < limit)
        count = receive_now(queue, count, limit);
    /* Of a block that is not full the next packets have not come yet. */
    if (queue->ahead != NULL && limit > 0 && count >= limit)
        receive_ahead(queue, limit);
    queue->pending = count;
    queue->busy_since = count > 0 ? rte_get_tsc_cycles() : 0;
    return count;
}

void fajita_rest(struct fajita_queue *queue)
{
    if (queue->busy_since != 0)
        queue->busy_cycles += rte_get_tsc_cycles() - queue->busy_since;
    queue->busy_since = 0;
}

uint64_t fajita_cycles_per_second(void)
{
    return rte_get_tsc_hz();
}

void fajita_end_queue(struct fajita_queue *queue)
{
    rte_pktmbuf_free_bulk(queue->held, queue->pending);
    queue->pending = 0;
    if (queue->ahead != NULL)
        rte_pktmbuf_free_bulk(queue->ahead, queue->ahead_of[0] + queue->ahead_of[1]);
    queue->ahead_of[0] = queue->ahead_of[1] = 0;
}
