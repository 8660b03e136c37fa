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

#endif
