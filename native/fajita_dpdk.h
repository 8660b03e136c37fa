/* What fajita needs of DPDK. fajita/dpdk/build.py makes the Python module of this file, so that it has no macros. */

#ifndef FAJITA_DPDK_H
#define FAJITA_DPDK_H

#include <stddef.h>
#include <stdint.h>

struct rte_mbuf;
struct rte_mempool;
struct rte_ring;

/* The environment (EAL). It can be begun once in a process. */

const char *fajita_version(void);
/* 0, or -errno. Arguments as of a program, the first being its name; DPDK keeps them. */
int fajita_begin(int argc, char **argv);
void fajita_end(void);
/* What DPDK has said since the last call, the newest of it; as many bytes as were put there. */
size_t fajita_log(char *into, size_t room);
/* Have, in a worker's thread, what DPDK keeps per core: caches of mbufs. 0, or -errno. */
int fajita_begin_thread(void);
void fajita_end_thread(void);
/* Have a worker's thread come back from a system call of a driver, which may wait for ever for room to send. */
void fajita_wake(uint64_t thread);
/* Add a device such as `net_null0,copy=1` to a running environment, and take one of a bus away. 0, or -errno. */
int fajita_add_device(const char *arguments);
int fajita_remove_device(const char *bus, const char *name);

/* Ports. Functions that can fail give -errno. */

struct fajita_port {
    char name[64];
    char driver[64];
    uint8_t mac[6];
    uint16_t receive_queues; /* at most */
    uint16_t transmit_queues;
    uint16_t mtu;
    uint16_t indirection_entries;
    uint8_t key_bytes;
    uint64_t hash_types;
    int socket;
};

struct fajita_setup {
    uint16_t receive_queues;
    uint16_t transmit_queues;
    uint16_t receive_descriptors;
    uint16_t transmit_descriptors;
    struct rte_mempool *const *pools; /* one for each queue that receives */
    const uint8_t *key;               /* of the Toeplitz hash; NULL: packets are not spread */
    uint8_t key_bytes;
    uint64_t hash_types;
    const uint8_t *indirection; /* the queue of each bucket */
    uint16_t buckets;
};

struct fajita_counts {
    uint64_t missed;     /* came while there was no room in a queue */
    uint64_t in_errors;  /* of the device */
    uint64_t out_errors; /* handed over and not sent */
    uint64_t no_memory;  /* came while there was no mbuf */
};

int fajita_list_ports(uint16_t *ports, int room);
int fajita_describe_port(uint16_t port, struct fajita_port *description);
int fajita_set_up_port(uint16_t port, const struct fajita_setup *setup);
/* Fill in the table of indirection of a port that runs. */
int fajita_spread(uint16_t port, const struct fajita_setup *setup);
int fajita_start_port(uint16_t port);
int fajita_stop_port(uint16_t port);
int fajita_close_port(uint16_t port);
/* 1: up, 0: down. */
int fajita_link(uint16_t port);
int fajita_count_port(uint16_t port, struct fajita_counts *counts);

/* `room`: bytes of a frame that fit one mbuf. NULL if there is no memory. */
struct rte_mempool *fajita_make_pool(const char *name, uint32_t mbufs, uint16_t room, int socket);
/* A way from one worker to another; room for `count` mbufs, a power of two. NULL if there is no memory. */
struct rte_ring *fajita_make_ring(const char *name, uint32_t count, int socket);
void fajita_free_ring(struct rte_ring *ring);
void fajita_free_pool(struct rte_mempool *pool);
uint32_t fajita_mbufs_in_use(struct rte_mempool *pool);

/* What a NIC can be told to hash, of the fields that are not 0; ports beside addresses only. */
uint64_t fajita_hash_types(int source, int destination, int source_port, int destination_port);

/* What a worker polls, and where its packets go. */

typedef uint16_t (*fajita_burst)(uint16_t port, uint16_t queue, struct rte_mbuf **mbufs, uint16_t count);

/* Instead of the number of a queue. */
enum { FAJITA_NO_QUEUE = 65535 };

/* A queue that packets come from, and the one they go to. */
struct fajita_lane {
    uint16_t in_port, in_queue, out_port, out_queue;
    uint32_t stamp_ns;             /* the unit of packets' own times; 0: a packet's time is when it was received */
    uint32_t *lock;                /* of the queue out, if several workers send by it; else NULL */
    fajita_burst receive, transmit; /* the port's own if NULL */
    uint64_t in_packets, in_bytes, out_packets, out_bytes;
    uint64_t unsent;    /* the port did not take them */
    uint64_t malformed; /* mbufs that contradict themselves: refused */
    uint64_t too_long;  /* refused: no room to join its segments, or for what it has become */
    uint64_t no_memory; /* refused: no mbuf to copy it to */
    uint64_t copied;    /* into one piece of its own */
    uint64_t handed;    /* to another worker */
};

/* The columns of a block of frames (fajita/io/frames.py), and what is under way. Every array has room for `room`. */
struct fajita_queue {
    uint64_t *address;
    uint64_t *floor; /* where the buffer of each mbuf begins; NULL: no frame becomes longer or shorter */
    uint32_t *captured, *wire;
    uint64_t *time_ns;
    uint8_t *verdict;
    struct rte_mbuf **held; /* the mbuf of each frame */
    uint8_t *lane_of;
    struct rte_mbuf **outgoing;
    struct rte_mbuf **ahead;   /* what comes next if a block is full; NULL: it is not received before it is asked for */
    struct rte_mempool *large; /* for frames that are joined */
    int64_t clock_offset_ns;   /* from the monotonic clock to nanoseconds since 1970 */
    uint64_t busy_cycles, busy_since; /* from packets' coming to their going; 0: none are at work */
    uint64_t stamp_flag;
    int stamp_offset;
    uint32_t room, pending, lanes, next, retries;
    uint32_t ahead_of[2], ahead_next; /* how many are of each lane, one lane's after the other's, and of which first */
    struct fajita_lane lane[2];
    /* Of several workers: whose packets are whose, and rings by which each hands the others' over; NULL for its own. */
    uint32_t worker, workers, turn;
    uint8_t *buckets;
    const uint8_t *indirection;
    struct rte_ring **to, **come_from;
};

/* Fill in what only DPDK knows, once the rest is there. */
void fajita_begin_queue(struct fajita_queue *queue);
/* Receive up to `most` frames into the columns; how many. The kernel calls it: `queue` is an address. Those that have
   been received ahead come first, though `most` be 0. */
int64_t fajita_receive(int64_t queue, int64_t most);
/* Hand `count` frames that have just been received over to the workers whose buckets they are in, and take what others
   have handed over; how many frames there are then. */
int64_t fajita_exchange(int64_t queue, int64_t count);
/* How many frames others have handed over that it has not taken yet. */
uint32_t fajita_waiting(const struct fajita_queue *queue);
/* Send those of `count` frames whose verdict is 1, in order, and free the others; returns 0. */
int64_t fajita_transmit(int64_t queue, int64_t count);
/* The time of a packet that would come now. */
uint64_t fajita_now(const struct fajita_queue *queue);
uint64_t fajita_cycles_per_second(void);
/* Free what is under way. */
void fajita_end_queue(struct fajita_queue *queue);

/* For benchmarks: bursts of frames from slots of 64 bytes, over and over, each copied into an mbuf of the pool as a NIC
   would; and a port that takes everything. By one worker. */
void fajita_play(const uint8_t *slots, uint32_t count, uint16_t length, struct rte_mempool *pool);
uint16_t fajita_played(uint16_t port, uint16_t queue, struct rte_mbuf **mbufs, uint16_t count);
uint16_t fajita_swallow(uint16_t port, uint16_t queue, struct rte_mbuf **mbufs, uint16_t count);
/* What a port receives, the next frames copied into its mbufs; and what a port sends. */
uint16_t fajita_renewed(uint16_t port, uint16_t queue, struct rte_mbuf **mbufs, uint16_t count);
uint16_t fajita_sent(uint16_t port, uint16_t queue, struct rte_mbuf **mbufs, uint16_t count);
/* Nothing but that: so many blocks of frames, a multiple of 32 each, all of which are there. */
void fajita_play_alone(fajita_burst receive, fajita_burst transmit, uint16_t port, uint64_t blocks, uint32_t block);

/* For tests that play a NIC: an mbuf of these segments, whose bytes lie one after the other; NULL if that cannot be. */
struct rte_mbuf *fajita_make_mbuf(struct rte_mempool *pool, const uint8_t *bytes, const uint16_t *lengths,
                                  uint16_t segments, uint16_t headroom);
void fajita_bend_mbuf(struct rte_mbuf *mbuf, uint16_t data_offset, uint16_t data_length, uint32_t packet_length);
/* It says of itself that it has so many segments, and that so many hold it; and that the device took a tag out. */
void fajita_claim_mbuf(struct rte_mbuf *mbuf, uint16_t segments, uint16_t holders);
void fajita_strip_tag(struct rte_mbuf *mbuf, uint16_t tag);
/* An mbuf whose bytes lie outside, in memory that is freed with it; NULL if there is no memory. */
struct rte_mbuf *fajita_make_external_mbuf(struct rte_mempool *pool, const uint8_t *bytes, uint16_t length);
struct rte_mbuf *fajita_clone_mbuf(struct rte_mbuf *mbuf, struct rte_mempool *pool);
void fajita_free_mbuf(struct rte_mbuf *mbuf);
/* Bytes of it, at most `room` of which are put there. */
uint32_t fajita_read_mbuf(const struct rte_mbuf *mbuf, uint8_t *into, uint32_t room);

#endif
