/* A NIC that is played: for benchmarks, bursts of frames from memory; for tests, mbufs of any shape. */

#include "fajita_dpdk.h"
#include "shared.h"

#include <stdlib.h>
#include <string.h>

#include <rte_ethdev.h>
#include <rte_mbuf.h>
#include <rte_memcpy.h>
#include <rte_mempool.h>

/* Bytes from one frame in memory to the next. */
#define SLOT 64

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

static void write_next_frame(struct rte_mbuf *mbuf)
{
    rte_mov64(rte_pktmbuf_mtod(mbuf, uint8_t *), play.slots + (uint64_t)play.next * SLOT);
    mbuf->data_len = play.length;
    mbuf->pkt_len = play.length;
    play.next = play.next + 1 == play.count ? 0 : play.next + 1;
}

uint16_t fajita_played(uint16_t port, uint16_t queue, struct rte_mbuf **mbufs, uint16_t count)
{
    (void)port, (void)queue;
    if (rte_pktmbuf_alloc_bulk(play.pool, mbufs, count) != 0)
        return 0;
    for (uint16_t i = 0; i < count; i++)
        write_next_frame(mbufs[i]);
    return count;
}

uint16_t fajita_renewed(uint16_t port, uint16_t queue, struct rte_mbuf **mbufs, uint16_t count)
{
    uint16_t got = rte_eth_rx_burst(port, queue, mbufs, count);
    for (uint16_t i = 0; i < got; i++)
        write_next_frame(mbufs[i]);
    return got;
}

void fajita_play_alone(fajita_burst receive, fajita_burst transmit, uint16_t port, uint64_t blocks, uint32_t block)
{
    struct rte_mbuf *mbufs[block];

    while (blocks-- > 0) {
        for (uint32_t i = 0; i < block; i += AT_ONCE)
            receive(port, 0, mbufs + i, AT_ONCE);
        transmit(port, 0, mbufs, block);
    }
}

uint16_t fajita_sent(uint16_t port, uint16_t queue, struct rte_mbuf **mbufs, uint16_t count)
{
    return rte_eth_tx_burst(port, queue, mbufs, count);
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

void fajita_claim_mbuf(struct rte_mbuf *mbuf, uint16_t segments, uint16_t holders)
{
    mbuf->nb_segs = segments;
    rte_mbuf_refcnt_set(mbuf, holders);
}

void fajita_strip_tag(struct rte_mbuf *mbuf, uint16_t tag)
{
    mbuf->ol_flags |= RTE_MBUF_F_RX_VLAN | RTE_MBUF_F_RX_VLAN_STRIPPED;
    mbuf->vlan_tci = tag;
}

static void free_outside(void *address, void *unused)
{
    (void)unused;
    free(address);
}

struct rte_mbuf *fajita_make_external_mbuf(struct rte_mempool *pool, const uint8_t *bytes, uint16_t length)
{
    uint16_t size = RTE_PKTMBUF_HEADROOM + length + sizeof(struct rte_mbuf_ext_shared_info) + sizeof(uintptr_t);
    struct rte_mbuf *mbuf = rte_pktmbuf_alloc(pool);
    uint8_t *outside = malloc(size);
    struct rte_mbuf_ext_shared_info *shared;

    if (mbuf == NULL || outside == NULL ||
        (shared = rte_pktmbuf_ext_shinfo_init_helper(outside, &size, free_outside, NULL)) == NULL) {
        rte_pktmbuf_free(mbuf);
        free(outside);
        return NULL;
    }
    rte_pktmbuf_attach_extbuf(mbuf, outside, RTE_BAD_IOVA, size, shared);
    mbuf->data_off = RTE_PKTMBUF_HEADROOM;
    mbuf->data_len = mbuf->pkt_len = length;
    memcpy(rte_pktmbuf_mtod(mbuf, void *), bytes, length);
    return mbuf;
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
