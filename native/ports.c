/* Ports: found, set up, started and stopped, counted; and the pools and rings that workers have. */

#include "fajita_dpdk.h"
#include "shared.h"

#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <rte_ethdev.h>
#include <rte_ether.h>
#include <rte_mbuf.h>
#include <rte_mempool.h>
#include <rte_ring.h>

#define MBUF_CACHE 256

/* Those that were not promiscuous before. */
static uint8_t made_promiscuous[RTE_MAX_ETHPORTS];

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

/* Flags of an interface of the kernel's, 0 if there is none; IFF_UP and IFF_RUNNING if they cannot be had. */
static int kernel_flags(unsigned int index)
{
    struct ifreq request = {.ifr_name = ""};
    int answered, socket_of_any_kind;

    if (if_indextoname(index, request.ifr_name) == NULL)
        return 0;
    socket_of_any_kind = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (socket_of_any_kind < 0)
        return IFF_UP | IFF_RUNNING;
    answered = ioctl(socket_of_any_kind, SIOCGIFFLAGS, &request);
    close(socket_of_any_kind);
    return answered == 0 ? request.ifr_flags : 0;
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
    if (rte_eth_promiscuous_get(port) != 1 && !(info.if_index != 0 && kernel_flags(info.if_index) & IFF_PROMISC))
        made_promiscuous[port] = rte_eth_promiscuous_enable(port) == 0;
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
    /* An interface of the kernel's stays when nobody has the port any more. */
    if (made_promiscuous[port])
        rte_eth_promiscuous_disable(port);
    made_promiscuous[port] = 0;
    return rte_eth_dev_close(port);
}

int fajita_link(uint16_t port)
{
    struct rte_eth_dev_info info;
    struct rte_eth_link link;
    int flags, status = rte_eth_link_get_nowait(port, &link);
    if (status < 0)
        return status;
    if (link.link_status != RTE_ETH_LINK_UP)
        return 0;
    if (rte_eth_dev_info_get(port, &info) != 0 || info.if_index == 0)
        return 1;
    /* Drivers on top of an interface of the kernel's do not all look whether it is up. */
    flags = kernel_flags(info.if_index);
    return (flags & IFF_UP) && (flags & IFF_RUNNING);
}

int fajita_count_port(uint16_t port, struct fajita_counts *counts)
{
    struct rte_eth_stats stats;
    int status = rte_eth_stats_get(port, &stats);
    if (status < 0)
        return status;
    *counts = (struct fajita_counts){
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
    if (fajita_note_offset < 0)
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
