/**
 * The layout of the generator's memory: the contract between TypeScript and the generator's
 * WebAssembly.
 *
 * Only plain integer constants stand here, so that AssemblyScript and Deno import the same file and an
 * offset is declared once. All offsets and sizes are bytes. One thread, the generator's, writes and
 * reads all of it; back-ends are given the two ports' parts and nothing before them.
 *
 *     0        private: rings, directions, flows, histogram
 *     PORTS    port 0: two rings, receive buffers, transmit buffers
 *     +1 port  port 1: the same
 *
 * A direction has the number of the port that its frames are sent from.
 *
 * @module
 */

// ── Limits ───────────────────────────────────────────────────────────────────────────────────────

/** Largest ring. */
export const MAX_RING_SIZE = 1024;
/** Most flows of one direction. */
export const MAX_FLOWS = 1024;
/** Frames that are taken or sent in one go; as testpmd's `--burst` is by default. */
export const BURST = 32;
/** Largest frame, an Ethernet header and the usual MTU. */
export const MAX_FRAME_BYTES = 1514;
/** Bytes of the virtio-net header before each frame (VIRTIO 1.2, 5.1.6). */
export const HEADER_BYTES = 12;
/** What a receive buffer says that it holds: header and any frame of the usual MTU. */
export const BUFFER_BYTES = 2048;
/**
 * Where a buffer begins behind the start of a cache line: header and frame then meet at the start of
 * the next one, as in the buffers of DPDK.
 */
export const BUFFER_OFFSET = 52;
/**
 * From one buffer to the next: an odd number of cache lines, so that the first lines of all buffers
 * do not meet in a few sets of the cache.
 */
export const BUFFER_STRIDE = 2112;

// ── Setup ────────────────────────────────────────────────────────────────────────────────────────

/** u32, bytes of a frame. */
export const SETUP_FRAME_BYTES = 4096;
/** u32, flows of each direction. */
export const SETUP_FLOWS = 4100;
/** u32, closed loop: frames of each direction on the way at a time. */
export const SETUP_WINDOW = 4104;
/** u32, entries of each ring. */
export const SETUP_RING_SIZE = 4108;
/** u32, not 0 when the rings are packed. */
export const SETUP_PACKED = 4112;
/** u32, the number of the run, 16 bits: frames of another run are not counted. */
export const SETUP_RUN = 4116;
/** f64, open loop: nanoseconds between two frames of one direction. */
export const SETUP_INTERVAL_NS = 4120;
/** f64, open loop: instant at which no frame is due any more, in nanoseconds. */
export const SETUP_END_NS = 4128;
/** f64, the longest latency, in nanoseconds. */
export const MAX_LATENCY_NS = 4136;
/** u32, not 0 once a back-end named a buffer that does not exist, or gave back too many. */
export const RULES_BROKEN = 4144;

// ── Rings: record `2 * port`, receive; `2 * port + 1`, transmit ──────────────────────────────────

/** The first record. */
export const RINGS = 4224;
/** Bytes of a record. */
export const RING_BYTES = 64;
/** u32, where the descriptor table lies. */
export const RING_DESC = 0;
/** u32, where the available ring or the driver's event suppression lies. */
export const RING_AVAIL = 4;
/** u32, where the used ring or the device's event suppression lies. */
export const RING_USED = 8;
/** u32, where the buffers lie. */
export const RING_BUFFERS = 12;
/** u32, free-running: the next buffer to be taken back. */
export const RING_NEXT_USED = 16;
/** u32, free-running: the next buffer to be handed out; a receive ring hands each out at once. */
export const RING_NEXT_AVAIL = 20;
/** u32, buffers that were seen to be used and are not taken yet. */
export const RING_SEEN = 24;

// ── Directions ───────────────────────────────────────────────────────────────────────────────────

/** The first record. */
export const DIRECTIONS = 4608;
/** Bytes of a record. */
export const DIRECTION_BYTES = 128;
/** u64, frames sent. */
export const DIRECTION_SENT = 0;
/** u64, frames that arrived whole for the first time. */
export const DIRECTION_RECEIVED = 8;
/** u64, frames that arrived, or were overtaken by one that arrived, or are written off. */
export const DIRECTION_SETTLED = 16;
/** u64, frames that arrived after one that was sent later. */
export const DIRECTION_REORDERED = 24;
/** u64, frames that arrived once more. */
export const DIRECTION_DUPLICATED = 32;
/** u64, frames that arrived with other bytes. */
export const DIRECTION_CORRUPTED = 40;
/** u64, frames that are none of this run. */
export const DIRECTION_FOREIGN = 48;
/** f64, open loop: when frame 0 is due, in nanoseconds. */
export const DIRECTION_START_NS = 56;
/** u32, the flow of the next frame. */
export const DIRECTION_NEXT_FLOW = 64;

// ── Histogram ────────────────────────────────────────────────────────────────────────────────────

/** Bits of a latency that count: 64 buckets for each doubling, right to 1.6 %. */
export const HISTOGRAM_BITS = 6;
/** Buckets: enough for 32-bit nanoseconds, 4.3 seconds. */
export const HISTOGRAM_BUCKETS = 1728;
/** u32 each, latencies counted by bucket. */
export const HISTOGRAM = 8192;

// ── Frames ───────────────────────────────────────────────────────────────────────────────────────

/** What every transmit buffer holds behind its stamp, once. */
export const TEMPLATE = 16384;

// ── Flows ────────────────────────────────────────────────────────────────────────────────────────

/** The first record; those of direction 1 follow those of direction 0. */
export const FLOWS = 20480;
/** Bytes of a record: a cache line and the bits of the history. */
export const FLOW_BYTES = 192;
/** u32, wraps: the number of the next frame to send. */
export const FLOW_NEXT = 0;
/** u32, wraps: the number of the next frame to arrive. */
export const FLOW_EXPECTED = 4;
/** u32, bits that are set in the history. */
export const FLOW_MISSING = 8;
/** One bit for each of the last numbers before the expected one: it has not arrived. */
export const FLOW_HISTORY = 64;
/** Numbers that the history remembers; a multiple of 32. */
export const HISTORY = 1024;

// ── Ports ────────────────────────────────────────────────────────────────────────────────────────

/** Where port 0 begins: a page of memory, behind all flows. */
export const PORTS = 458752;
/** Bytes of one ring of a port: descriptors, available and used ring of the largest size. */
export const RING_SPACE_BYTES = 32768;
/** Where the receive buffers of a port begin, from the port. */
export const PORT_BUFFERS = 65536;
/** Bytes of a port: two rings, two sets of buffers, in pages of WebAssembly. */
export const PORT_BYTES = 4390912;
/** Bytes of everything. */
export const MEMORY_BYTES = 9240576;
