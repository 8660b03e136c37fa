/* What the chain lets go on is sent, in the shape that it has now; the rest is freed. */

#include "fajita_dpdk.h"
#include "shared.h"

#include <string.h>

#include <rte_ethdev.h>
#include <rte_mbuf.h>
#include <rte_mempool.h>
#include <rte_pause.h>

static void send_all(const struct fajita_queue *queue, struct fajita_lane *lane, struct rte_mbuf **mbufs, uint32_t count)
{
    uint32_t done = 0, tries = 0;

    if (lane->lock != NULL)
        while (__atomic_exchange_n(lane->lock, 1, __ATOMIC_ACQUIRE))
            rte_pause();
    while (done < count) {
        uint16_t taken = lane->transmit(lane->out_port, lane->out_queue, mbufs + done, (uint16_t)(count - done));
        done += taken;
        /* In a hurry it gets a burst once: it might wait for room for each packet. */
        if (queue->retries == 0)
            break;
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

/* Have the mbuf of a frame say where that lies now, or copy it there; NULL if there is no room for it, which is counted:
   it is freed. */
static struct rte_mbuf *with_frame(struct fajita_queue *queue, struct fajita_lane *lane, struct rte_mbuf *mbuf,
                                   uint64_t address, uint32_t length)
{
    uint64_t floor = (uint64_t)(uintptr_t)mbuf->buf_addr;

    if (address >= floor && address + length <= floor + mbuf->buf_len) {
        mbuf->data_off = (uint16_t)(address - floor);
    } else {
        if (!make_space(mbuf, length)) {
            rte_pktmbuf_free(mbuf);
            mbuf = rte_pktmbuf_alloc(queue->large);
            if (!make_space(mbuf, length)) {
                lane->no_memory += mbuf == NULL;
                lane->too_long += mbuf != NULL;
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
        struct fajita_lane *lane = &queue->lane[queue->lane_of[i]];
        struct rte_mbuf *mbuf = queue->held[i];
        uint32_t length = queue->captured[i];
        if (queue->verdict[i] == 1 && length == 0) {
            lane->malformed++;
            rte_pktmbuf_free(mbuf);
            continue;
        }
        if (queue->verdict[i] == 1 && (mbuf = with_frame(queue, lane, mbuf, queue->address[i], length)) == NULL)
            continue;
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
    fajita_rest(queue);
    return 0;
}
