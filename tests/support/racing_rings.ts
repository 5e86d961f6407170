/**
 * Rings of a guest whose vCPUs write to them while the switch walks through them: the catalogue's
 * rows G55, G66 and G67, for both ring formats.
 *
 * Each kind of attack flips one field of every descriptor, of every table or of the header, between
 * values that keep the rules and values that break them. All entries of both rings are available at
 * any time, some as chains of one descriptor, some of two.
 *
 * @module
 */
import {
  type RingPlaces,
  VIRTQ_DESC,
  VIRTQ_DESC_F_INDIRECT as INDIRECT,
  VIRTQ_DESC_F_NEXT as NEXT,
  VIRTQ_DESC_F_WRITE as WRITE,
} from "../../src/virtio/layouts.ts";
import {
  PACKED_DESC,
  VIRTQ_DESC_F_AVAIL as AVAIL,
  VIRTQ_DESC_F_USED as USED,
} from "../../src/virtio/packed_layouts.ts";
import type { Flip, Follow } from "./racing_words.ts";

/** What a vCPU flips. */
export type RacingKind = "addr" | "len" | "flags" | "next" | "table" | "header";

/** Every kind, with what it is in words, and its row. */
export const RACING_KINDS: Readonly<Record<RacingKind, string>> = {
  addr: "the addresses of descriptors (G66)",
  len: "the lengths of descriptors (G66)",
  flags: "the flags of descriptors (G66)",
  next: "the next indexes or ids of descriptors (G66)",
  table: "the entries of indirect tables (G55)",
  header: "the headers of frames (G67)",
};

/** Entries of each ring. */
export const RACING_RING_SIZE = 16;
/** Bytes from which is sent: as many as the longest frame has, and some. */
export const RACING_DATA_BYTES = 66_000;
/** Bytes of a receive buffer. */
const BUFFER_BYTES = 2048;
/** Bytes of all receive buffers. */
export const RACING_BUFFERS_BYTES = RACING_RING_SIZE * BUFFER_BYTES;
/** Entries of an indirect table. */
const TABLE_ENTRIES = 4;
/** So often a field of a table is what it should be, for once that it is not: a table has sixteen. */
const RIGHT_VALUES = 64;
const TABLE_BYTES = TABLE_ENTRIES * VIRTQ_DESC.size;
/** Bytes of all indirect tables, those of the receive queue first. */
export const RACING_TABLES_BYTES = 2 * RACING_RING_SIZE * TABLE_BYTES;

/** Bytes of the virtio-net header (VIRTIO 1.2, 5.1.6). */
const HEADER_BYTES = 12;
/** The first entries of a ring are chains of one descriptor, the others of two. */
const SINGLES = 8;
/** The longest chain that is taken: header and MAX_FRAME_BYTES. */
const LONGEST = 65_561n;

/** A guest with rings to attack from. */
export interface RacingGuest {
  /** Its memory. */
  readonly memory: WebAssembly.Memory;
  /** Which of the racing memories it is. */
  readonly number: number;
  /** Whether its rings are packed. */
  readonly isPacked: boolean;
  /** Its rings, to receive and to transmit, of {@linkcode RACING_RING_SIZE} entries. */
  readonly rings: readonly [RingPlaces, RingPlaces];
  /** Guest address of RACING_DATA_BYTES that begin with the frame to send and its header. */
  readonly data: bigint;
  /** Bytes of the frame and its header. */
  readonly dataBytes: number;
  /** Guest address of the same bytes once more, behind which a region ends. */
  readonly edge: bigint;
  /** Guest address of RACING_BUFFERS_BYTES to receive into. */
  readonly buffers: bigint;
  /** Guest address of RACING_TABLES_BYTES, a multiple of 8; a border of regions may be inside. */
  readonly tables: bigint;
  /** Guest addresses to try: outside of memory, at an edge, another guest's. */
  readonly hostile: readonly bigint[];
  /** Where a guest address lies in `memory`. */
  localOf(address: bigint): number;
}

/** A field of a descriptor; in a packed ring "next" is the buffer id. */
type Field = "addr" | "len" | "flags" | "next";

/** A descriptor of either format. */
type Descriptor = Readonly<Record<Field, bigint>>;

const FIELD_BYTES = { addr: 8, len: 4, flags: 2, next: 2 } as const;
const FIELDS = Object.keys(FIELD_BYTES) as Field[];
const PACKED_OFFSETS = { ...PACKED_DESC.offset, next: PACKED_DESC.offset.id };

/**
 * Writes the rings of a guest.
 *
 * @param guest The guest; nobody uses its rings.
 * @param kind What will be flipped.
 * @returns What a vCPU is to do.
 */
export function prepareRacing(guest: RacingGuest, kind: RacingKind): [Flip[], Follow[]] {
  const flips: Flip[] = kind === "header" ? flipsOfHeader(guest) : [];
  guest.rings.forEach((places, index) => {
    const isReceive = index === 0;
    const table = kind === "table" ? pointers(guest, isReceive) : descriptors(guest, isReceive);
    table.forEach((descriptor, slot) => {
      const at = (field: Field) => places.desc + slot * VIRTQ_DESC.size + offsetOf(guest, field);
      for (const field of FIELDS) write(guest, at(field), field, descriptor[field]);
      if (kind === "table") flips.push(...prepareTable(guest, isReceive, slot));
      const values = { ...valuesLike(guest, descriptor, slot), flags: flagsLike(descriptor) };
      if (guest.isPacked) flips.push(...flipsOfDriver(guest, at, descriptor, kind));
      else if (kind === "flags") flips.push(flip(guest, at(kind), kind, values[kind]));
      if (kind === "addr" || kind === "len" || kind === "next") {
        flips.push(flip(guest, at(kind), kind, values[kind]));
      }
    });
    if (!guest.isPacked) offerAll(guest, places);
  });
  return [flips, guest.isPacked ? [] : guest.rings.map((places) => followOf(guest, places))];
}

// ── What stands in the rings at first ────────────────────────────────────────────────────────────

function descriptors(guest: RacingGuest, isReceive: boolean): Descriptor[] {
  return Array.from({ length: RACING_RING_SIZE }, (_, slot) => {
    const [start, bytes] = bufferOf(guest, isReceive, slot);
    const next = BigInt(guest.isPacked ? slot : slot + 1);
    const flags = BigInt(isReceive ? WRITE : 0);
    if (slot < SINGLES) return { addr: start, len: BigInt(bytes), flags, next };
    const [head, rest] = cut(start, bytes, HEADER_BYTES);
    return slot % 2 === 0
      ? { ...head!, flags: flags | BigInt(NEXT), next }
      : { ...rest!, flags, next };
  });
}

// Each descriptor points to a table of its own.
function pointers(guest: RacingGuest, isReceive: boolean): Descriptor[] {
  return Array.from({ length: RACING_RING_SIZE }, (_, slot) => ({
    addr: tableAt(guest, isReceive, slot),
    len: BigInt(TABLE_BYTES),
    flags: BigInt(INDIRECT),
    next: BigInt(slot),
  }));
}

// A header, and a frame in three parts.
function entries(guest: RacingGuest, isReceive: boolean, slot: number): Descriptor[] {
  const [start, bytes] = bufferOf(guest, isReceive, slot);
  return cut(start, bytes, HEADER_BYTES, HEADER_BYTES + 20, HEADER_BYTES + 60)
    .map((part, i) => ({
      ...part,
      flags: BigInt((isReceive ? WRITE : 0) | (i + 1 < TABLE_ENTRIES ? NEXT : 0)),
      next: BigInt(i + 1),
    }));
}

function bufferOf(guest: RacingGuest, isReceive: boolean, slot: number): [bigint, number] {
  if (isReceive) return [guest.buffers + BigInt(slot * BUFFER_BYTES), BUFFER_BYTES];
  return [slot % 2 === 0 || slot >= SINGLES ? guest.data : guest.edge, guest.dataBytes];
}

function cut(
  start: bigint,
  bytes: number,
  ...places: number[]
): Pick<Descriptor, "addr" | "len">[] {
  return [0, ...places].map((from, i) => ({
    addr: start + BigInt(from),
    len: BigInt((places[i] ?? bytes) - from),
  }));
}

function tableAt(guest: RacingGuest, isReceive: boolean, slot: number): bigint {
  return guest.tables + BigInt(((isReceive ? 0 : RACING_RING_SIZE) + slot) * TABLE_BYTES);
}

// Every entry names a head once and for all; only the index moves. Of a chain of two only the first
// descriptor is one.
function offerAll({ memory }: RacingGuest, { avail }: RingPlaces): void {
  const words = new Uint16Array(memory.buffer);
  for (let slot = 0; slot < RACING_RING_SIZE; slot++) {
    words[(avail + 4 >> 1) + slot] = slot < SINGLES ? slot : slot & ~1;
  }
}

function followOf({ number }: RacingGuest, { avail, used }: RingPlaces): Follow {
  return { memory: number, used: used + 2, available: avail + 2, size: RACING_RING_SIZE };
}

// ── What is flipped ──────────────────────────────────────────────────────────────────────────────

function prepareTable(guest: RacingGuest, isReceive: boolean, slot: number): Flip[] {
  return entries(guest, isReceive, slot).flatMap((entry, i) => {
    const start = tableAt(guest, isReceive, slot) + BigInt(i * VIRTQ_DESC.size);
    const values = { ...valuesLike(guest, entry, i), flags: flagsLike(entry) };
    return FIELDS.map((field) => {
      const at = guest.localOf(start + BigInt(offsetOf(guest, field)));
      write(guest, at, field, entry[field]);
      const right = new Array<bigint>(RIGHT_VALUES).fill(entry[field]);
      return flip(guest, at, field, [...right, ...values[field]]);
    });
  });
}

function valuesLike(
  { hostile }: RacingGuest,
  { addr, len, next }: Descriptor,
  slot: number,
): Readonly<Record<"addr" | "len" | "next", bigint[]>> {
  return {
    addr: [addr, addr, addr, addr + 1n, ...hostile],
    len: [
      len,
      len,
      len,
      len + 1n,
      len + 300n,
      0n,
      1n,
      11n,
      12n,
      25n,
      LONGEST,
      LONGEST + 1n,
      0x7fff_ffffn,
      0xffff_ffffn,
    ],
    next: [next, next, 0n, BigInt(slot), BigInt(RACING_RING_SIZE), 15n, 0xffffn],
  };
}

function flagsLike({ flags }: Descriptor): bigint[] {
  const others = [NEXT, WRITE, INDIRECT, NEXT | INDIRECT, WRITE | INDIRECT, 0xffff];
  return [flags, flags, flags, ...others.map((bits) => flags ^ BigInt(bits))];
}

// A driver that makes a descriptor available writes over what the device left there, then marks it
// for one round, then for the next, and so on; here for all of a ring at once, used or not.
function flipsOfDriver(
  guest: RacingGuest,
  at: (field: Field) => number,
  descriptor: Descriptor,
  kind: RacingKind,
): Flip[] {
  const isInTurn = kind !== "flags";
  const flags = isInTurn ? [descriptor.flags] : flagsLike(descriptor);
  const marked = flags.flatMap((each) => [each | BigInt(AVAIL), each | BigInt(USED)]);
  const restored = (["len", "next"] as const).filter((field) => field !== kind);
  return [
    ...restored.map((field) => flip(guest, at(field), field, [descriptor[field]])),
    { ...flip(guest, at("flags"), "flags", marked), isInTurn },
  ];
}

/** Words of the header and of the packet behind it: offset, and what they may be. */
const HEADER_WORDS: readonly (readonly [at: number, values: readonly number[]])[] = [
  // flags and gso_type: nothing, a checksum, TCP over IPv4 and IPv6, UDP, with ECN, unknown ones.
  [0, [0, 0x0001, 0x0101, 0x0101, 0x0401, 0x0501, 0x8101, 0x0100, 0x0301, 0xffff]],
  // hdr_len, gso_size, csum_start, csum_offset, num_buffers.
  [2, [54, 0, 0xffff]],
  [4, [536, 1448, 0, 1, 0xffff]],
  [6, [34, 34, 34, 0, 13, 14, 1400, 0xffff]],
  [8, [16, 16, 16, 6, 0, 0xfffe, 0xffff]],
  [10, [0, 1, 0xffff]],
  // EtherType (big-endian): IPv4, IPv6, a tag, none.
  [HEADER_BYTES + 12, [0x0008, 0x0008, 0x0008, 0xdd86, 0x0081, 0xffff]],
  // IP version and header length, total length.
  [HEADER_BYTES + 14, [0x0045, 0x0045, 0x0045, 0x004f, 0x0040, 0x0060, 0xffff]],
  [HEADER_BYTES + 16, [0xa005, 0x0000, 0xffff]],
  // TCP's data offset and flags.
  [HEADER_BYTES + 46, [0x1050, 0x1050, 0x1050, 0x10f0, 0x1000, 0xffff]],
];

function flipsOfHeader(guest: RacingGuest): Flip[] {
  const start = guest.localOf(guest.data);
  return HEADER_WORDS.map(([at, values]) => ({
    ...{ memory: guest.number, at: start + at, bytes: 2 as const, values: values.map(BigInt) },
  }));
}

function flip(
  { number }: RacingGuest,
  at: number,
  field: Field,
  values: readonly bigint[],
): Flip {
  return { memory: number, at, bytes: FIELD_BYTES[field], values };
}

function offsetOf({ isPacked }: RacingGuest, field: Field): number {
  return (isPacked ? PACKED_OFFSETS : VIRTQ_DESC.offset)[field];
}

function write({ memory }: RacingGuest, at: number, field: Field, value: bigint): void {
  const words = new Uint16Array(memory.buffer);
  for (let i = 0; i < FIELD_BYTES[field] / 2; i++) {
    words[(at >> 1) + i] = Number(value >> BigInt(16 * i) & 0xffffn);
  }
}
