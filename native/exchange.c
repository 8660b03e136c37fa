/* Several workers: what each receives of the others' it hands over to them. */

#include "fajita_dpdk.h"
#include "shared.h"

#include <rte_cycles.h>
#include <rte_mbuf.h>
#include <rte_mbuf_dyn.h>
#include <rte_ring.h>

static struct fajita_note *note_of(struct rte_mbuf *mbuf)
{
    return RTE_MBUF_DYNFIELD(mbuf, fajita_note_offset, struct fajita_note *);
}

static uint32_t take_over(struct fajita_queue *queue, uint32_t worker, uint32_t count)
{
    uint32_t come =
        rte_ring_sc_dequeue_burst(queue->come_from[worker], (void **)(queue->held + count), queue->room - count, NULL);
    fajita_fill_in(queue, count, count + come);
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

/* Hand over what is another worker's. */
static void hand_over(struct fajita_queue *queue, uint32_t worker, uint32_t received)
{
    uint32_t leaving = 0;

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

/* Once that has been handed over: have what stays lie together; how much it is. */
static uint32_t close_ranks(struct fajita_queue *queue, uint32_t received)
{
    uint32_t kept = 0;

    for (uint32_t i = 0; i < received; i++) {
        if (owner_of(queue, i) != queue->worker)
            continue;
        queue->held[kept] = queue->held[i];
        queue->lane_of[kept] = queue->lane_of[i];
        queue->time_ns[kept] = queue->time_ns[i];
        kept++;
    }
    fajita_fill_in(queue, 0, kept);
    return kept;
}

int64_t fajita_exchange(int64_t at, int64_t received)
{
    struct fajita_queue *queue = (struct fajita_queue *)(uintptr_t)at;
    uint32_t kept = received, differs = 0, others = queue->workers - 1;

    for (uint32_t i = 0; i < received; i++)
        differs |= owner_of(queue, i) ^ queue->worker;
    if (differs != 0) {
        for (uint32_t worker = 0; worker < queue->workers; worker++)
            if (worker != queue->worker)
                hand_over(queue, worker, received);
        kept = close_ranks(queue, received);
    }
    /* In turn, so that one of whom many come does not starve the others. */
    for (uint32_t i = 0; i < others; i++)
        kept = take_over(queue, (queue->worker + 1 + (queue->turn + i) % others) % queue->workers, kept);
    queue->turn++;
    queue->pending = kept;
    if (kept == 0)
        fajita_rest(queue);
    else if (queue->busy_since == 0)
        queue->busy_since = rte_get_tsc_cycles();
    return kept;
}
