/* What the C files have in common and Python does not see. */

#ifndef FAJITA_SHARED_H
#define FAJITA_SHARED_H

#include <stdint.h>

/* Mbufs that are asked for at once: what vector drivers like. */
#define AT_ONCE 32

/* What a worker tells another of a frame that it hands over. */
struct fajita_note {
    uint64_t time_ns;
    uint64_t lane;
};
/* Where in an mbuf that is, once the environment has begun; negative: nowhere. */
extern int fajita_note_offset;

struct fajita_queue;
/* The columns of what is held from `first` to `end`. Whether all mbufs are plain; else what was filled in is not to be
   used. */
int fajita_fill_in(const struct fajita_queue *queue, uint32_t first, uint32_t end);
/* No packet is at work any more: count the time since some were. */
void fajita_rest(struct fajita_queue *queue);

#endif
