/**
 * The state memory's layout: the contract between the control plane (TypeScript, main thread) and
 * the data plane (WebAssembly, poll Workers).
 *
 * Only plain integer constants stand here, so that AssemblyScript and Deno import the same file and
 * an offset is declared once. All offsets and sizes are bytes. The state memory belongs to the
 * switch; guest memory is never part of it.
 *
 * Who writes what (each cache line has one writer at a time):
 *
 * | part | written by | when |
 * | --- | --- | --- |
 * | port, ring configuration line, bridge, ring list | control | while no Worker uses it, or by one atomic store |
 * | ring position line | the Worker that polls the ring, or holds its lock | any time |
 * | worker line, scratch, counters | that Worker | any time |
 * | FDB entry | any Worker, by compare-and-swap of the key | any time |
 *
 * @module
 */

// ── Limits ───────────────────────────────────────────────────────────────────────────────────────

/** Ports of one switch. */
export const MAX_PORTS = 256;
/** Rings of one port: 128 queue pairs (vhost-user, GET_QUEUE_NUM). */
export const RINGS_PER_PORT = 256;
/** Poll Workers of one switch. */
export const MAX_WORKERS = 16;
/** The number under which control itself sends a frame now and then, and counts it. */
export const CONTROL_WORKER = MAX_WORKERS;
/** Bridges of one switch. */
export const MAX_BRIDGES = 64;
/** Chains taken from a ring in one turn: one bit each in a 64-bit set of frames. */
export const BURST = 64;
/** Largest ring (VIRTIO 1.2, 2.7: "The maximum Queue Size value is 32768"). */
export const MAX_RING_SIZE = 32768;
/** Memory regions of one port that fit into its record. */
export const MAX_REGIONS = 126;
/** Largest frame without its virtio-net header: a 65,535 byte packet behind an Ethernet header. */
export const MAX_FRAME_BYTES = 65549;
/** Smallest frame: an Ethernet header. */
export const MIN_FRAME_BYTES = 14;
/** Largest virtio-net header that is ever negotiated (VIRTIO 1.2, 5.1.6). */
export const MAX_HEADER_BYTES = 12;
/** Bytes of a frame that are read once into state memory and decided on. */
export const SNAPSHOT_BYTES = 64;
/** The same for a frame with an offload: all headers that segmentation rewrites fit. */
export const MAX_SNAPSHOT_BYTES = 256;
/** Most frames that one super-packet is cut into; a sender that wants more loses it. */
export const MAX_PIECES = 512;
/** Bytes of guest memory that one bit of a log stands for (vhost-user, "Migration"). */
export const LOG_PAGE_BYTES = 4096;
/** How far past a buffer the snapshot may read; a port's memory keeps that much behind its regions. */
export const OVERREAD_BYTES = 80;

// ── Clock ────────────────────────────────────────────────────────────────────────────────────────

/** u32, monotonic seconds since the switch started; control advances it, so all Workers agree. */
export const CLOCK_SECONDS = 4096;

// ── Port record: what its guest negotiated and where its memory lies ─────────────────────────────

/** The first port record. */
export const PORTS = 65536;
/** Bytes of a port record. */
export const PORT_BYTES = 4608;
/** u32, the bridge that the port is in. */
export const PORT_BRIDGE = 0;
/** u32, bytes of the virtio-net header: 10 or 12. */
export const PORT_HEADER_BYTES = 4;
/** u32, a set of PORT_F_*. */
export const PORT_FLAGS = 8;
/** u32, grows when the port's FDB entries are to be forgotten; only 16 bits count. */
export const PORT_GENERATION = 12;
/** u32, how many receive queues of the guest can be filled. */
export const PORT_RX_COUNT = 16;
/** u32, how many memory regions follow. */
export const PORT_REGION_COUNT = 20;
/** u64, where the log of dirty pages is in the port's memory; 0 when nothing is logged. */
export const PORT_LOG = 24;
/** u64, bytes of that log. */
export const PORT_LOG_BYTES = 32;
/** u32, largest frame that the guest takes in one piece of its own; 0 for any. */
export const PORT_MAX_FRAME = 40;
/** u32, who drives the port's rings: a PORT_ROLE_*; set once, before any Worker knows the port. */
export const PORT_ROLE = 44;
/** A guest is connected: the rings have their driver there. */
export const PORT_ROLE_BACKEND = 0;
/** A back-end is connected: we are the driver, and frames come from its used rings. */
export const PORT_ROLE_FRONTEND = 1;
/** u8[128], the pairs whose receive queue can be filled. */
export const PORT_RX_PAIRS = 64;
/** The first memory region. */
export const PORT_REGIONS = 192;
/** Bytes of a memory region. */
export const REGION_BYTES = 32;
/** u64, guest address of the region's first byte. */
export const REGION_GUEST = 0;
/** u64, bytes. */
export const REGION_SIZE = 8;
/** u64, where the region starts in the port's WebAssembly memory. */
export const REGION_LOCAL = 16;
/** Several receive buffers may hold one frame (VIRTIO_NET_F_MRG_RXBUF). */
export const PORT_F_MERGEABLE = 1;
/** Notifications are suppressed by index (VIRTIO_F_EVENT_IDX). */
export const PORT_F_EVENT_IDX = 2;
/** Descriptors may point to tables (VIRTIO_F_INDIRECT_DESC). */
export const PORT_F_INDIRECT = 4;
/** Rings are packed (VIRTIO_F_RING_PACKED). */
export const PORT_F_PACKED = 8;
/** A back-end may put a frame into several of our buffers (VIRTIO_NET_F_MRG_RXBUF). */
export const PORT_F_MERGES = 16;
/** The guest may send partial checksums (VIRTIO_NET_F_CSUM). */
export const PORT_F_CSUM = 1 << 8;
/** The guest may send TCP/IPv4 super-packets (VIRTIO_NET_F_HOST_TSO4). */
export const PORT_F_HOST_TSO4 = 1 << 9;
/** The guest may send TCP/IPv6 super-packets (VIRTIO_NET_F_HOST_TSO6). */
export const PORT_F_HOST_TSO6 = 1 << 10;
/** The guest may send super-packets with ECN (VIRTIO_NET_F_HOST_ECN). */
export const PORT_F_HOST_ECN = 1 << 11;
/** The guest may send UDP super-packets (VIRTIO_NET_F_HOST_USO). */
export const PORT_F_HOST_USO = 1 << 12;
/** The guest takes partial checksums (VIRTIO_NET_F_GUEST_CSUM). */
export const PORT_F_GUEST_CSUM = 1 << 16;
/** The guest takes TCP/IPv4 super-packets (VIRTIO_NET_F_GUEST_TSO4). */
export const PORT_F_GUEST_TSO4 = 1 << 17;
/** The guest takes TCP/IPv6 super-packets (VIRTIO_NET_F_GUEST_TSO6). */
export const PORT_F_GUEST_TSO6 = 1 << 18;
/** The guest takes super-packets with ECN (VIRTIO_NET_F_GUEST_ECN). */
export const PORT_F_GUEST_ECN = 1 << 19;
/** The guest takes UDP/IPv4 super-packets (VIRTIO_NET_F_GUEST_USO4). */
export const PORT_F_GUEST_USO4 = 1 << 20;
/** The guest takes UDP/IPv6 super-packets (VIRTIO_NET_F_GUEST_USO6). */
export const PORT_F_GUEST_USO6 = 1 << 21;

// ── Ring record ──────────────────────────────────────────────────────────────────────────────────

/** The first ring record; ring number = port * RINGS_PER_PORT + vring index. */
export const RINGS = PORTS + MAX_PORTS * PORT_BYTES;
/** Bytes of a ring record: one line of configuration, one of positions. */
export const RING_BYTES = 128;
/** u32, a set of RING_F_*; stored atomically. */
export const RING_FLAGS = 0;
/** u32, number of descriptors. */
export const RING_SIZE = 4;
/** u64, descriptor table (packed: descriptor ring) in the port's memory. */
export const RING_DESC = 8;
/** u64, available ring (packed: driver event suppression) in the port's memory. */
export const RING_AVAIL = 16;
/** u64, used ring (packed: device event suppression) in the port's memory. */
export const RING_USED = 24;
/** i32, eventfd to signal the guest with; -1 when the guest polls. */
export const RING_CALL_FD = 32;
/** u32, the Worker that polls this ring. */
export const RING_WORKER = 36;
/** u64, of a ring that we drive: its first slot in the port's memory; see `assembly/slots.ts`. */
export const RING_SLOTS = 40;
/** u64, of such a ring: what we know of its slots, in the port's memory but not shared. */
export const RING_PRIVATE = 48;
/** u32, of such a ring: bytes of a slot. */
export const RING_SLOT_BYTES = 56;
/**
 * u32, position of the next available entry to take. Split: a free-running index of 16 bits. Packed:
 * a slot in bits 0 to 14, the wrap counter in bit 15.
 */
export const RING_NEXT_AVAIL = 64;
/** u32, position of the next used entry to write. */
export const RING_NEXT_USED = 68;
/** u32, used position at the last notification decision. */
export const RING_SIGNALLED = 72;
/** u32, 1 when RING_SIGNALLED means something; 0 makes the next notification unconditional. */
export const RING_SIGNALLED_VALID = 76;
/** u32, why the ring is quarantined: a FAULT_*, 0 when it is sound. */
export const RING_FAULT = 80;
/** u32, number plus one of the Worker that fills this receive ring; 0 when nobody does. */
export const RING_LOCK = 84;
/** The ring may be used (between SET_VRING_KICK and GET_VRING_BASE). */
export const RING_F_STARTED = 1;
/** The ring carries frames (SET_VRING_ENABLE). */
export const RING_F_ENABLED = 2;

// ── Bridge record: who gets flooded frames ───────────────────────────────────────────────────────

/** The first bridge record. */
export const BRIDGES = RINGS + MAX_PORTS * RINGS_PER_PORT * RING_BYTES;
/** Bytes of a bridge record. */
export const BRIDGE_BYTES = 1024;
/** u32, number of member ports. */
export const BRIDGE_COUNT = 0;
/** u32, seconds after which an unseen address is forgotten. */
export const BRIDGE_AGEING_SECONDS = 4;
/** u16[256], the member ports. */
export const BRIDGE_PORTS = 64;

// ── Forwarding database ──────────────────────────────────────────────────────────────────────────

/** u32, number of sets minus one (a power of two minus one). */
export const FDB_MASK = BRIDGES + MAX_BRIDGES * BRIDGE_BYTES;
/** u64, odd multiplier of the hash, drawn at start. */
export const FDB_SEED = FDB_MASK + 8;
/** The first entry. */
export const FDB = FDB_MASK + 128;
/** Bytes of an entry: u64 key, u64 value. */
export const FDB_ENTRY_BYTES = 16;
/** Entries of a set; an address is only ever looked for in its set. */
export const FDB_WAYS = 8;
/** Sets that fit. */
export const MAX_FDB_SETS = 32768;

// ── Counters: per Worker and port, u64 each, one writer ──────────────────────────────────────────

/** The first counter block; block = worker * MAX_PORTS + port, control's own behind the Workers'. */
export const COUNTERS = FDB + MAX_FDB_SETS * FDB_WAYS * FDB_ENTRY_BYTES;
/** Bytes of a counter block: 32 counters. */
export const COUNTER_BLOCK_BYTES = 256;
/** Frames taken from the guest. */
export const C_RECEIVED_FRAMES = 0;
/** Bytes of those frames, without virtio-net headers. */
export const C_RECEIVED_BYTES = 8;
/** Frames given to the guest. */
export const C_TRANSMITTED_FRAMES = 16;
/** Bytes of those frames, without virtio-net headers. */
export const C_TRANSMITTED_BYTES = 24;
/** Frames for the guest while it had no receive queue running. */
export const C_DROP_NOT_READY = 32;
/** Frames for the guest that found no receive buffer. */
export const C_DROP_NO_BUFFER = 40;
/** Frames for the guest that fit into no buffer it posts. */
export const C_DROP_TOO_BIG = 48;
/** Frames from the guest shorter than an Ethernet header. */
export const C_DROP_RUNT = 56;
/** Chains from the guest that break a rule of the ring (answer R1). */
export const C_DROP_BAD_CHAIN = 64;
/** Frames from the guest with an offload that it did not negotiate. */
export const C_DROP_BAD_OFFLOAD = 72;
/** Frames from the guest on a started but disabled queue. */
export const C_DROP_DISABLED = 80;
/** Frames whose destination is the port they came from. */
export const C_DROP_SAME_PORT = 88;
/** Receive chains of the guest that break a rule of the ring (answer R1). */
export const C_BAD_RX_CHAIN = 96;
/** Frames from the guest that were flooded. */
export const C_FLOODED = 104;
/** Addresses learned on the port, new or moved to it. */
export const C_LEARNED = 112;
/** Addresses moved to the port from another one. */
export const C_MOVED = 120;
/** Addresses not learned because their set was full of others. */
export const C_FDB_FULL = 128;
/** Rings quarantined (answer R2). */
export const C_RING_FAULTS = 136;
/** Calls that the guest asked for. */
export const C_CALLS = 144;
/** Super-packets for the guest that were cut into frames, because it does not take them whole. */
export const C_SEGMENTED = 152;
/** Frames for the guest whose checksum was finished, because it does not take partial ones. */
export const C_CHECKSUMMED = 160;
/** Super-packets for the guest that could not be cut: their headers are not what they claim. */
export const C_DROP_BAD_SEGMENTATION = 168;
/** Connections ended because of what the front-end did (answer R3); counted by control. */
export const C_CLOSED_CONNECTIONS = 176;
/** Requests of the front-end that were refused (answer R4); counted by control. */
export const C_REFUSED_REQUESTS = 184;

// ── Records of a burst, in a Worker's scratch ─────────────────────────────────────────────────────

/** Bytes of a segment: u64 local address, u32 length. */
export const SEGMENT_BYTES = 16;
/** u64, where the segment starts in its port's memory. */
export const SEGMENT_LOCAL = 0;
/** u32, bytes. */
export const SEGMENT_LENGTH = 8;

/** Bytes of a used element in the scratch; a frame record begins with one. */
export const USED_BYTES = 16;
/** u32, what names the chain: the head's index (split), the buffer id (packed). */
export const USED_ID = 0;
/** u32, bytes written into the chain. */
export const USED_LENGTH = 4;
/** u32, ring entries that the chain takes: 1 in a split ring. */
export const USED_SLOTS = 8;

/**
 * Bytes of a frame record: a used element of length 0, then what is known of the frame. Numbers that
 * stand beside each other up to FRAME_HEADERS are written in pairs.
 */
export const FRAME_BYTES = 128;
/** u32, why the frame goes nowhere: the offset of a counter, 0 when it is to be forwarded. */
export const FRAME_DROP = 12;
/** u32, bytes of the frame without its virtio-net header. */
export const FRAME_LENGTH = 16;
/** u32, address of the first segment behind the bytes that were read. */
export const FRAME_SEGMENTS = 20;
/** u32, how many segments follow. */
export const FRAME_SEGMENT_COUNT = 24;
/** u32, address of the first bytes of a frame with an offload; 0 for a plain frame. */
export const FRAME_HEADERS = 28;
/** u8[12], the virtio-net header: what was checked of it, all zero for a plain frame. */
export const FRAME_HEADER = 32;
/** u32, hash of the frame's flow; 0 until a receiver with several queues needs it. */
export const FRAME_FLOW = 44;
/** u8[64], the first bytes of the frame. */
export const FRAME_SNAPSHOT = 64;

/** Bytes of a placement: one frame, or one piece of a super-packet, in a destination's buffers. */
export const PLACED_BYTES = 64;
/** u32, address of the frame record. */
export const PLACED_FRAME = 0;
/** u32, address of the first segment to write. */
export const PLACED_WRITES = 4;
/** u32, how many segments follow; 0 for a plain frame that goes to PLACED_TO in one piece. */
export const PLACED_WRITE_COUNT = 8;
/** u32, bytes of the virtio-net header. */
export const PLACED_HEADER_BYTES = 12;
/** u8[12], the virtio-net header to write. */
export const PLACED_HEADER = 16;
/** u32, a set of PLACED_F_*. */
export const PLACED_FLAGS = 28;
/** u32, of a piece: bytes of the frame's headers, which each piece begins with. */
export const PLACED_PIECE_HEADERS = 32;
/** u32, of a piece: where its payload starts in the frame. */
export const PLACED_PIECE_START = 36;
/** u32, of a piece: bytes of its payload. */
export const PLACED_PIECE_BYTES = 40;
/** u32, of a piece: its number, from 0. */
export const PLACED_PIECE_NUMBER = 44;
/** u64, where a plain frame goes with its virtio-net header, in the destination's memory. */
export const PLACED_TO = 48;
/** The checksum that the sender left open is to be finished. */
export const PLACED_F_CHECKSUM = 1;
/** The placement is one piece of a super-packet. */
export const PLACED_F_PIECE = 2;
/** The placement is the last piece of a super-packet. */
export const PLACED_F_LAST = 4;
/** Placements of one reservation. */
export const MAX_PLACED = 1024;

// ── Workers ──────────────────────────────────────────────────────────────────────────────────────

/** The first Worker's record; one more follows the Workers', for control. */
export const WORKERS = COUNTERS + (MAX_WORKERS + 1) * MAX_PORTS * COUNTER_BLOCK_BYTES;
/** u32, grows with each turn; stored atomically. */
export const W_EPOCH = 0;
/** u32, 1 while the Worker sleeps and touches nothing; stored atomically. */
export const W_SLEEPING = 4;
/** u32, a W_COMMAND_*; written by control, atomically. */
export const W_COMMAND = 64;
/** u32, grows when the ring list changed; written by control, atomically. */
export const W_LIST_GENERATION = 68;
/** u32, rings in the list; written by control. */
export const W_LIST_COUNT = 72;
/** f64 statistics: turns. */
export const W_POLLS = 128;
/** f64: ring polls that found work. */
export const W_BUSY_POLLS = 136;
/** f64: chains taken. */
export const W_FRAMES_TAKEN = 144;
/** f64: nanoseconds of the timed busy polls. */
export const W_TIMED_NS = 152;
/** f64: chains taken in the timed busy polls. */
export const W_TIMED_FRAMES = 160;
/** f64: times the Worker slept. */
export const W_SLEEPS = 168;
/** u32, chains taken in the current burst. */
export const W_TAKEN = 192;
/** u32, destinations of the current burst. */
export const W_DESTINATION_COUNT = 196;
/** u32, the receive ring being filled. */
export const W_RX_RING = 200;
/** u32, frames placed in that ring. */
export const W_PLACED_COUNT = 204;
/** u32, used entries to publish there. */
export const W_USED_COUNT = 208;
/** u32, 1 when frames for the current destination are left for a further reservation. */
export const W_MORE = 212;
/** u16[256], the destination ports of the current burst. */
export const W_DESTINATIONS = 256;
/** u8[256], headers of the piece that is being written. */
export const W_PIECE = 768;
/** u64[256], per port: which frames of the burst go there. */
export const W_MASKS = 1024;
/** Frame records of the burst. */
export const W_FRAMES = W_MASKS + MAX_PORTS * 8;
/** Placements of the current destination. */
export const W_PLACED = W_FRAMES + BURST * FRAME_BYTES;
/** First bytes of the burst's frames with an offload. */
export const W_HEADERS = W_PLACED + MAX_PLACED * PLACED_BYTES;
/** u16[], the ring list: up to MAX_PORTS * 128 ring numbers. */
export const W_LIST = W_HEADERS + BURST * MAX_SNAPSHOT_BYTES;
/** Segments of the frames taken: what is left to copy behind the snapshot. */
export const W_SEGMENTS = W_LIST + MAX_PORTS * RINGS_PER_PORT;
/** Segments in all, received and to be written. */
export const MAX_SEGMENTS = 2 * MAX_RING_SIZE + 256;
/** Segments of the current destination's buffers. */
export const W_WRITES = W_SEGMENTS + MAX_SEGMENTS * SEGMENT_BYTES;
/** Used elements to publish. */
export const W_USED = W_WRITES + MAX_SEGMENTS * SEGMENT_BYTES;
/** A private copy of an indirect table that straddles regions. */
export const W_TABLE = W_USED + MAX_RING_SIZE * USED_BYTES;
/** Bytes of a Worker's record. */
export const WORKER_BYTES = W_TABLE + MAX_RING_SIZE * 16;
/** Look for new frames. */
export const W_COMMAND_RUN = 0;
/** Leave the loop. */
export const W_COMMAND_STOP = 1;

// ── Why a ring is quarantined (answer R2) ────────────────────────────────────────────────────────

/** The available index is further ahead than the ring is long. */
export const FAULT_AVAIL_INDEX = 1;
/** A head that the table does not have; in a packed ring, a chain without end or an id too large. */
export const FAULT_CHAIN = 2;
/** The memory that held the ring is no longer mapped. */
export const FAULT_UNMAPPED = 3;
/** A ring that we drive was in the hands of a Worker that died: where it stands is not known. */
export const FAULT_LOST = 4;
