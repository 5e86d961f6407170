/**
 * Messages that a front-end may send: each with the number, size and descriptors that the request
 * table gives it, and with what makes sense for the guest at hand.
 *
 * A request without a payload of its own here gets small numbers, so one that is new to the table is
 * covered from its first day.
 *
 * @module
 */
import { FLAG_NEED_REPLY, VRING_NO_FD } from "../../../src/vhost_user/numbers.ts";
import { type RequestRule, REQUESTS } from "../../../src/vhost_user/requests.ts";
import { memoryTable, ringAddress, ringState, u64 } from "../../support/vhost_messages.ts";
import type { Random } from "../random.ts";
import { type Front, type FrontRegion, OFFER, someBits } from "./front.ts";
import { FILE_BYTES } from "./layout.ts";
import { type DescriptorName, RINGS } from "./plan.ts";

/** A message before it is bytes, open to mistakes. */
export interface Draft {
  request: number;
  /** The header's flags, without the version. */
  flags: number;
  payload: Uint8Array;
  fds: DescriptorName[];
  /** What the header says instead of version 1. */
  version?: number;
  /** What the header says instead of the payload's length. */
  size?: number;
}

/** What a message says and brings. */
interface Content {
  readonly payload: Uint8Array;
  readonly fds?: readonly DescriptorName[];
}

/** Makes what a message says; `ring` is the ring that it is about, if it is about one. */
type Maker = (random: Random, front: Front, ring: number) => Content;

/** Requests with their numbers, by name. */
const NUMBERS: ReadonlyMap<string, number> = new Map(
  Object.entries(REQUESTS).map(([number, { name }]) => [name, Number(number)]),
);
/** Names of all requests. */
export const REQUEST_NAMES: readonly string[] = [...NUMBERS.keys()];

/** Bytes of memory that one byte of a dirty log stands for: eight pages. */
const BYTES_PER_LOG_BYTE = 8 * 4096;
/** A log that is large enough for a guest whose addresses begin low. */
const LOG_BYTES = FILE_BYTES;

/** Other files that a region may be in. */
const OTHER_MEMORY = ["second memory", "tmpfs memory", "unsealable memory"] as const;
/** Addresses that move by it lie in no region of before. */
const MOVED = 1n << 36n;
/** Sizes that a port can map, and sizes that it cannot. */
const LARGE_SIZES = [
  ...[1n << 21n, (1n << 21n) + 4096n, 1n << 26n],
  ...[(1n << 34n) - (1n << 21n), (1n << 34n) - 4096n, 1n << 34n, 1n << 40n, 1n << 50n],
] as const;
/**
 * The largest size that a port can map. A port's memory never shrinks again, and the switch's runtime
 * collects its garbage more often for it, so these are rare.
 */
const LARGEST_SIZE = (1n << 34n) - (1n << 23n);
const LARGEST_SHARE = 0.001;

const vringState = (num: (random: Random, front: Front, ring: number) => number): Maker => {
  return (random, front, ring) => ({ payload: ringState(ring, num(random, front, ring)) });
};

const eventfd = (kind: "kick" | "call"): Maker => (random, _front, ring) => {
  const hasNone = random.chance(0.05);
  return {
    payload: u64(BigInt(ring) | (hasNone ? VRING_NO_FD : 0n)),
    fds: hasNone ? [] : [`${kind}${ring}`],
  };
};

const MAKERS: Readonly<Record<string, Maker>> = {
  SET_FEATURES: (_, front) => ({ payload: u64(front.features) }),
  SET_PROTOCOL_FEATURES: (_, front) => ({ payload: u64(front.protocolFeatures) }),
  SET_MEM_TABLE: drawTable,
  ADD_MEM_REG: (random, { regions }) => ({
    payload: singleRegion(random.pick(regions)),
    fds: ["memory"],
  }),
  REM_MEM_REG: (random, { regions }) => ({
    payload: singleRegion(random.pick(regions)),
    fds: random.chance(0.2) ? ["memory"] : [],
  }),
  SET_VRING_NUM: vringState((_, front, ring) => front.rings[ring]!.size),
  SET_VRING_BASE: vringState((_, front, ring) => front.rings[ring]!.base),
  GET_VRING_BASE: vringState(() => 0),
  SET_VRING_ENABLE: vringState((random, front, ring) => {
    return random.chance(0.1) ? random.below(2) : Number(front.rings[ring]!.isEnabled);
  }),
  SET_VRING_ADDR: (_, front, ring) => ({ payload: ringAddress(ring, front.rings[ring]!) }),
  SET_VRING_KICK: eventfd("kick"),
  SET_VRING_CALL: eventfd("call"),
  SET_VRING_ERR: eventfd("call"),
  SET_LOG_BASE: (random) => ({
    payload: twoNumbers(
      BigInt(random.pick([LOG_BYTES, LOG_BYTES, LOG_BYTES / BYTES_PER_LOG_BYTE, 1, 4096])),
      BigInt(random.pick([0, 0, 0, 4096, FILE_BYTES - 4096])),
    ),
    fds: [random.chance(0.9) ? "second memory" : "memory"],
  }),
  SET_LOG_FD: () => ({ payload: new Uint8Array(0), fds: ["call0"] }),
  NET_SET_MTU: (random) => ({
    payload: u64(random.pick([68, 1280, 1500, 1500, 1500, 9000, 65535])),
  }),
  SEND_RARP: (random) => ({ payload: Uint8Array.of(2, 0, 0, 0, 0, random.below(5), 0, 0) }),
  SET_STATUS: (random) => ({ payload: u64(random.pick([0, 1, 3, 0xb, 0xf, 0xf, 0x80, 0xff])) }),
};

/**
 * Draws a message.
 *
 * @param name The request's name; it must be in the table.
 * @param random Where choices come from.
 * @param front What there is to say.
 * @param ring The ring that it is about.
 */
export function drawMessage(name: string, random: Random, front: Front, ring = 0): Draft {
  const request = NUMBERS.get(name)!;
  const rule = REQUESTS[request as keyof typeof REQUESTS];
  const { payload, fds = [] } = (MAKERS[name] ?? anything(rule))(random, front, ring);
  return { request, flags: 0, payload, fds: [...fds] };
}

/** Whether the request table has a request. */
export function isKnown(name: string): boolean {
  return NUMBERS.has(name);
}

/** Asks for an acknowledgement. */
export function askReply(draft: Draft): Draft {
  draft.flags |= FLAG_NEED_REPLY;
  return draft;
}

// What fits the rule, with numbers that are small or features of ours.
function anything({ bytes: [fewest, most], fds }: RequestRule): Maker {
  return (random) => {
    const payload = new Uint8Array(random.chance(0.5) ? fewest : random.between(fewest, most));
    const view = new DataView(payload.buffer);
    for (let at = 0; at + 4 <= payload.length; at += 4) {
      if (random.chance(0.5)) view.setUint32(at, random.pick([0, 1, 2, RINGS, 255, 4096]), true);
    }
    if (payload.length >= 8 && random.chance(0.1)) {
      view.setBigUint64(0, someBits(random, OFFER.features), true);
    }
    const count = random.between(fds[0], Math.min(fds[1], fds[0] + 1));
    const names: DescriptorName[] = ["memory", "call0", "second memory"];
    return { payload, fds: Array.from({ length: count }, () => random.pick(names)) };
  };
}

// Mostly the guest's memory; now and then a part of it, in another order, elsewhere, or a lot of it.
function drawTable(random: Random, { regions }: Front): Content {
  if (random.chance(0.01)) return drawHugeTable(random, regions);
  const some = random.chance(0.9) ? regions : random.pick([
    [regions[0]!],
    [...regions].reverse(),
    regions.map((region) => ({ ...region, size: region.size / 2n })),
    regions.map((region) => ({ ...region, guest: region.guest ^ MOVED })),
    regions.map((region) => ({ ...region, user: region.user ^ MOVED })),
  ]);
  const other = random.chance(0.04) ? random.pick(OTHER_MEMORY) : "memory";
  return {
    payload: memoryTable(some),
    fds: some.map((_, i) => i === 1 ? other : "memory"),
  };
}

function drawHugeTable(random: Random, [first]: readonly FrontRegion[]): Content {
  const offset = random.pick([0n, 0n, 4096n, 1n << 30n]);
  const size = random.chance(LARGEST_SHARE) ? LARGEST_SIZE : random.pick(LARGE_SIZES);
  const huge = { guest: 1n << 40n, user: 1n << 41n, size, offset };
  return { payload: memoryTable([first!, huge]), fds: ["memory", "huge memory"] };
}

// "Single memory region description": 8 bytes without meaning, then the region.
function singleRegion({ guest, size, user, offset }: FrontRegion): Uint8Array {
  const payload = new Uint8Array(40);
  const view = new DataView(payload.buffer);
  [guest, size, user, offset].forEach((value, i) => view.setBigUint64(8 + 8 * i, value, true));
  return payload;
}

function twoNumbers(first: bigint, second: bigint): Uint8Array {
  const payload = new Uint8Array(16);
  const view = new DataView(payload.buffer);
  view.setBigUint64(0, first, true);
  view.setBigUint64(8, second, true);
  return payload;
}
